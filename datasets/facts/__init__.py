"""Facts about the known sets, as data: names and classes, published counts of images, licences, guides."""
