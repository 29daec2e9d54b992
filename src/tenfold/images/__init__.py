"""Images: disk -> Table -> batches. The files, in the order in which data flows:

table.py       Table: a data frame, one row a sample, and its boxes
readers/       a path or arrays -> Table: one file a layout, listed in READERS
writers/       a Table with boxes -> a folder as Pascal VOC, COCO or YOLO: one file a layout, listed in WRITERS
content.py     the stored bytes of a sample, and their hash
decode.py      stored bytes -> upright uint8 pixels
resize.py      the resize, as two small matrix products
preprocess.py  pixels -> the canvas that is cached, the view that the network sees, and the affine maps between them
prepared.py    a Table's samples, decoded and prepared
cache.py       the decoded cache: each image is decoded and resized once, for all runs that prepare it alike
batch.py       Batch: what the loader gives and every model takes
loader.py      rows of a Table -> batches, fed by threads
"""
