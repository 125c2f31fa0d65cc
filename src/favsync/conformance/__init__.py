"""Does somebody's backend do what the two endpoints of the protocol ask for? Tried over HTTP, as a stranger would.

Knows the wire, by `favsync.client`, and what the settings may say of a peer; nothing of how the service or links work.
"""

from favsync.conformance.examine import examine
from favsync.conformance.findings import Finding, Mark, Report, Tell
from favsync.conformance.probe import Probe, Target

__all__ = ["Finding", "Mark", "Probe", "Report", "Target", "Tell", "examine"]
