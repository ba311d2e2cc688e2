"""Outline every cell in a folder of images on the workers of a Dask cluster, one task an image.

    python -m cluster.folder SCHEDULER INPUT OUTPUT [options]

SCHEDULER is its address, tcp://HOST:8786. The workers must see both folders by the same paths; what
is written, and the options, are those of python -m app INPUT OUTPUT (and --threads 1 unless it is
given, for each thread of a worker). Large images are better shared out by cluster.slide.
"""

import sys

from .images import ImageWorker, do_images
from .run import main
from .workers import Remote

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "cluster.folder", __doc__ or "", Remote, ImageWorker, do_images))
