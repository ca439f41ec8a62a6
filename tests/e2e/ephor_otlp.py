# SPDX-License-Identifier: Apache-2.0
"""OTLP/protobuf written by hand, from the field numbers of the public specification: what the
end-to-end tests send, so that nothing of Ephor's own code wrote it."""
import random
import struct

PROTOBUF = "application/x-protobuf"


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One field by the value's kind: int = varint, bytes and str = length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def any_value(value):
    if isinstance(value, bool):
        return field(2, int(value))
    if isinstance(value, int):
        return field(3, value & (1 << 64) - 1)
    if isinstance(value, float):
        return varint(4 << 3 | 1) + struct.pack("<d", value)
    return field(1, value)


def key_value(name, value):
    return field(1, name) + field(2, any_value(value))


class Span:
    """Facts of one span; `encoded` is its protobuf message."""

    def __init__(self, trace_id, span_id, parent_id, service, name, start_ns, end_ns, is_error=False, **attributes):
        self.trace_id, self.span_id, self.parent_id = trace_id, span_id, parent_id
        self.service, self.name, self.start_ns, self.end_ns = service, name, start_ns, end_ns
        self.is_error, self.attributes = is_error, attributes

    @property
    def key(self):
        return self.trace_id.hex(), self.span_id.hex()

    def encoded(self):
        out = field(1, self.trace_id) + field(2, self.span_id)
        if self.parent_id:
            out += field(4, self.parent_id)
        out += field(5, self.name) + field(6, 1) + fixed64(7, self.start_ns) + fixed64(8, self.end_ns)
        for name, value in self.attributes.items():
            out += field(9, key_value(name, value))
        if self.is_error:
            out += field(15, field(2, "broken") + field(3, 2))
        return out


def request(spans):
    """An ExportTraceServiceRequest: one ResourceSpans for each service, in the order they come."""
    by_service = {}
    for span in spans:
        by_service.setdefault(span.service, []).append(span)
    out = b""
    for service, its in by_service.items():
        resource = field(1, field(1, key_value("service.name", service)))
        scope = field(1, field(1, "e2e"))
        out += field(1, resource + field(2, scope + b"".join(field(2, span.encoded()) for span in its)))
    return out


def rejected(answer):
    """rejected_spans of an ExportTraceServiceResponse; the bytes have to be well-formed."""

    def fields(text):
        at, found = 0, []
        while at < len(text):
            number, at = read_varint(text, at)
            if number & 7 == 0:
                value, at = read_varint(text, at)
            else:
                assert number & 7 == 2, f"wire type {number & 7}"
                size, at = read_varint(text, at)
                value, at = text[at:at + size], at + size
            found.append((number >> 3, value))
        return found

    def read_varint(text, at):
        value = shift = 0
        while True:
            value |= (text[at] & 0x7F) << shift
            shift += 7
            at += 1
            if text[at - 1] < 0x80:
                return value, at

    for number, value in fields(answer):
        if number == 1:
            return dict(fields(value)).get(1, 0)
    return 0


SERVICES = ("strategist", "analyst", "exchange", "tactician")


class Traces:
    """Traces of some spans each, from a seed: a root in the first service, its children elsewhere."""

    def __init__(self, seed, count, spans_per_trace, base_ns, step_ns, errors=(), slow=(), slow_ns=0):
        draw = random.Random(seed)
        self.traces = []
        for number in range(count):
            trace_id = draw.randbytes(16)
            root_id = draw.randbytes(8)
            start = base_ns + number * step_ns
            more = slow_ns if number in slow else 0
            spans = []
            at = start + 100_000
            for part in range(1, spans_per_trace):
                length = 500_000 + draw.randrange(400_000) + (more if part == 1 else 0)
                spans.append(Span(trace_id, draw.randbytes(8), root_id, SERVICES[part % len(SERVICES)],
                                  f"part_{part}", at, at + length, number in errors and part == 1,
                                  **{"correlation.id": f"e2e-{seed}-{number}", "decision.id": f"d-{seed}-{number}",
                                     "attempt": part, "share": part / 8, "is_live": part % 2 == 0}))
                at += length
            root = Span(trace_id, root_id, b"", SERVICES[0], "cycle", start, at + 100_000, number in errors,
                        **{"correlation.id": f"e2e-{seed}-{number}", "decision.id": f"d-{seed}-{number}"})
            self.traces.append([root, *spans])

    def spans(self):
        return [span for trace in self.traces for span in trace]


def bodies(spans, size):
    return [spans[at:at + size] for at in range(0, len(spans), size)]
