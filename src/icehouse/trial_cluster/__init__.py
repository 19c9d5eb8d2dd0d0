"""A trial cluster of AWS CloudHSM: as easy to start as to stop. Needs the extra `aws`; loads boto3 when first used."""

from icehouse.trial_cluster.aws import Aws
from icehouse.trial_cluster.record import Record
from icehouse.trial_cluster.wanted import Wanted

__all__ = ["Aws", "Record", "Wanted"]
