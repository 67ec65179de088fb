"""Everything that leaves the service for a network, and the rules for what comes back."""

from rhesis.backend.outgoing.addresses import AddressNotAllowed, AddressPolicy, check_url
from rhesis.backend.outgoing.answer import Answer, CallError, ErrorType
from rhesis.backend.outgoing.call import CallLimits, call_endpoint
from rhesis.backend.outgoing.client import NetworkLimits, close_shared_clients
from rhesis.backend.outgoing.endpoint import EndpointSpec, check_spec
from rhesis.backend.outgoing.mapping import check_jsonpath, extract, map_response
from rhesis.backend.outgoing.patterns import SafePattern, compile_pattern
from rhesis.backend.outgoing.retrying import Pacing, RetryPolicy
from rhesis.backend.outgoing.templates import check_template, render_template

__all__ = [
    "AddressNotAllowed",
    "AddressPolicy",
    "Answer",
    "CallError",
    "CallLimits",
    "EndpointSpec",
    "ErrorType",
    "NetworkLimits",
    "Pacing",
    "RetryPolicy",
    "SafePattern",
    "call_endpoint",
    "check_jsonpath",
    "check_spec",
    "check_template",
    "check_url",
    "close_shared_clients",
    "compile_pattern",
    "extract",
    "map_response",
    "render_template",
]
