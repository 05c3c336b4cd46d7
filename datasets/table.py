"""The sample table: one row a sample. It is the only thing that a dataset has to produce.

Columns (all strings, but for ``label``):

=============  =====================================================================================
``image``      path of the image, relative to the dataset's root, with ``/``
``mask``       path of the mask, relative to the dataset's ``mask_root``; ``""`` when there is none.
               A directory stands for the union of the masks in it
``class``      object category
``split``      ``train`` or ``test``
``label``      int8: 0 normal, 1 anomalous. From the dataset's own index, never from the mask
``defect``     name of the defect; ``good`` for normal samples
``sample_id``  physical sample. Equal to ``image`` where each sample has one view
``view``       camera view (``C1``); ``""`` where there is one
=============  =====================================================================================

A dataset may add columns of its own (``xyz`` in MVTec-3D); nobody relies on them but who asks for them.
"""

from __future__ import annotations

COLUMNS = ("image", "mask", "class", "split", "label", "defect", "sample_id", "view")
