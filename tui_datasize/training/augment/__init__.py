"""Random changes of training images, in whole batches on the device."""
