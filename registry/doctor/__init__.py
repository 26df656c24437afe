"""The dataset doctor: reads every row of a dataset's files and says what is wrong with them.

No Django, bounded memory. `check` examines rows and `check_images` folders of images; `split_files`
and `image_folders` only say which is which split.
"""

from registry.doctor.examine import MOST_COLUMNS, check
from registry.doctor.findings import Finding, Level
from registry.doctor.images import check_images, image_folders
from registry.doctor.report import Report
from registry.doctor.splits import ROW_FILES, SPLITS, split_files, split_of

__all__ = [
    "MOST_COLUMNS",
    "ROW_FILES",
    "SPLITS",
    "Finding",
    "Level",
    "Report",
    "check",
    "check_images",
    "image_folders",
    "split_files",
    "split_of",
]
