"""A trial cluster of AWS CloudHSM: as easy to start as to stop. Needs the extra `aws`; loads boto3 when first used."""

from icehouse.cloudhsm.aws import Aws
from icehouse.cloudhsm.record import Record
from icehouse.cloudhsm.wanted import Wanted

__all__ = ["Aws", "Record", "Wanted"]
