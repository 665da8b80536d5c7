"""The journal: every operation of a job, and how far each has come, in one SQLite file."""

from s3batch.journal.doubts import Doubt
from s3batch.journal.job_table import Job
from s3batch.journal.journal import Journal
from s3batch.journal.objects import Facts
from s3batch.journal.outcomes import Entry, Failure
from s3batch.journal.samples import Sample
from s3batch.journal.statistics import OperationRow
from s3batch.journal.target_lock import LastJob, TargetLock
from s3batch.journal.uploads import UploadLeft

__all__ = [
    "Doubt",
    "Entry",
    "Facts",
    "Failure",
    "Job",
    "Journal",
    "LastJob",
    "OperationRow",
    "Sample",
    "TargetLock",
    "UploadLeft",
]
