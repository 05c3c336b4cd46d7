"""Facts about the known datasets as data: names and classes, published counts of images, licences, guides."""
