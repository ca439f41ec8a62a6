# SPDX-License-Identifier: Apache-2.0
"""Ephor's client for trading systems: one file, the standard library only, Python 3.9 or later.

    import ephor_client
    ephor = ephor_client.Client("http://127.0.0.1:8780", source="ares", spool_dir="/var/tmp/ares")

    with ephor.span("decide", component="tactician", symbol="ETHUSDT"):
        ephor.prediction(model_id="xgb_trend", prediction="buy", confidence=0.71)
        decision_id = ephor.decision(ensemble_id="main", final_decision="buy")
    ephor.trade_record(record)               # a whole TradeRecord, nested parts and all

What it promises:
- Recording never raises and never waits: the caller pays for an append, a thread of its own does the
  rest. Wrong arguments of Python itself (a missing one) are the exception: they fail in any test.
- What record() returned True for is delivered, once in effect, in order: it is kept while the host is
  away (in memory, then in the spool), sent again until it is acknowledged, and told apart by its id. A
  spool outlives the process. What only memory held when the process is killed is lost.
- Memory and disk are bounded. Beyond the bounds new records are refused, and counted exactly.
- After fork() the child starts with an empty queue and ids of its own; the parent's are the parent's.

Values are copied when they are recorded. NaN and infinities become null, and are counted; a metric whose
value is one is refused.
"""
import asyncio
import atexit
import collections
import concurrent.futures
import contextvars
import dataclasses
import datetime
import decimal
import email.utils
import enum
import functools
import http.client
import inspect
import json
import logging
import math
import os
import random
import re
import struct
import sys
import threading
import time
import urllib.parse
import weakref
import zlib

try:
    import fcntl
except ImportError:  # not POSIX: each client reads its own spool only
    fcntl = None

__all__ = ["Client", "Context", "ContextExecutor", "LogHandler", "Span", "current", "trace_id_for"]

log = logging.getLogger("ephor_client")

_MASK = (1 << 64) - 1
_now = time.time_ns
_ticks = time.perf_counter_ns


# ---- ids: those of W3C trace context, and what stands for a foreign one -----------------------------


class _Ids:
    """Random ids of this process, from the operating system; made in blocks, taken one by one."""

    def __init__(self):
        self.reset()

    def reset(self):
        self._next = iter(()).__next__

    def span_id(self):
        try:
            return self._next()  # one step of the interpreter: no two threads get the same
        except StopIteration:
            block = os.urandom(8 * 128).hex()
            ids = iter([block[at:at + 16] for at in range(0, len(block), 16)])
            first = next(ids)
            self._next = ids.__next__
            return first if first.strip("0") else self.span_id()

    def trace_id(self):
        return self.span_id() + self.span_id()


_ids = _Ids()

_SECRET = struct.pack(
    "<24Q", 0xBE4BA423396CFEB8, 0x1CAD21F72C81017C, 0xDB979083E96DD4DE, 0x1F67B3B7A4A44072,
    0x78E5C0CC4EE679CB, 0x2172FFCC7DD05A82, 0x8E2443F7744608B8, 0x4C263A81E69035E0, 0xCB00C391BB52283C,
    0xA32E531B8B65D088, 0x4EF90DA297486471, 0xD8ACDEA946EF1938, 0x3F349CE33F76FAA8, 0x1D4F0BC7C7BBDCF9,
    0x3159B4CD4BE0518A, 0x647378D9C97E9FC8, 0xC3EBD33483ACC5EA, 0xEB6313FAFFA081C5, 0x49DAF0B751DD0D17,
    0x9E68D429265516D3, 0xFCA1477D58BE162B, 0xCE31D07AD1B8F88F, 0x280416958F3ACB45, 0x7E404BBBCAFBD7AF)
_P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _word(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def _fold(one, other):
    product = one * other
    return (product & _MASK) ^ (product >> 64)


def _avalanche(value):
    value &= _MASK
    value = (value ^ value >> 37) * 0x165667919E3779F9 & _MASK
    return value ^ value >> 32


def _avalanche64(value):
    value = (value ^ value >> 33) * _P64[1] & _MASK
    value = (value ^ value >> 29) * _P64[2] & _MASK
    return value ^ value >> 32


def _xxh3(data):
    """XXH3, 128 bits, seed 0: (low, high). The host's hash of foreign ids; it never changes."""
    size, secret = len(data), _SECRET
    if size == 0:
        return tuple(_avalanche64(_word(secret, at) ^ _word(secret, at + 8)) for at in (64, 80))
    if size <= 3:
        low = data[0] << 16 | data[size // 2] << 24 | data[-1] | size << 8
        swapped = int.from_bytes(low.to_bytes(4, "little"), "big")
        high = (swapped << 13 | swapped >> 19) & 0xFFFFFFFF
        one, two, three, four = struct.unpack_from("<4I", secret)
        return _avalanche64(low ^ one ^ two), _avalanche64(high ^ three ^ four)
    if size <= 8:
        word = int.from_bytes(data[:4], "little") | int.from_bytes(data[-4:], "little") << 32
        product = (word ^ _word(secret, 16) ^ _word(secret, 24)) * (_P64[0] + (size << 2) & _MASK)
        low, high = product & _MASK, product >> 64
        high = high + (low << 1) & _MASK
        low ^= high >> 3
        low = (low ^ low >> 35) * 0x9FB21C651E98DF25 & _MASK
        return low ^ low >> 28, _avalanche(high)
    if size <= 16:
        first, last = _word(data, 0), _word(data, size - 8)
        product = (first ^ last ^ _word(secret, 32) ^ _word(secret, 40)) * _P64[0]
        low, high = (product & _MASK) + (size - 1 << 54) & _MASK, product >> 64
        last ^= _word(secret, 48) ^ _word(secret, 56)
        high = high + last + (last & 0xFFFFFFFF) * (_P32[1] - 1) & _MASK
        low ^= int.from_bytes(high.to_bytes(8, "little"), "big")
        product = low * _P64[1]
        return _avalanche(product & _MASK), _avalanche((product >> 64) + high * _P64[1])

    def mix16(at, secret_at):
        return _fold(_word(data, at) ^ _word(secret, secret_at),
                     _word(data, at + 8) ^ _word(secret, secret_at + 8))

    def mix32(low, high, one, other, secret_at):
        low = (low + mix16(one, secret_at) & _MASK) ^ (_word(data, other) + _word(data, other + 8) & _MASK)
        high = ((high + mix16(other, secret_at + 16) & _MASK)
                ^ (_word(data, one) + _word(data, one + 8) & _MASK))
        return low, high

    if size <= 240:
        low, high = size * _P64[0] & _MASK, 0
        if size <= 128:
            for i in range((size - 1) // 32, -1, -1):
                low, high = mix32(low, high, 16 * i, size - 16 * (i + 1), 32 * i)
        else:
            for at in range(0, 128, 32):
                low, high = mix32(low, high, at, at + 16, at)
            low, high = _avalanche(low), _avalanche(high)
            for at in range(128, size - 31, 32):
                low, high = mix32(low, high, at, at + 16, at - 125)
            low, high = mix32(low, high, size - 16, size - 32, 103)
        mixed = low * _P64[0] + high * _P64[3] + size * _P64[1]
        return _avalanche(low + high), -_avalanche(mixed) & _MASK
    lanes = [_P32[2], _P64[0], _P64[1], _P64[2], _P64[3], _P32[1], _P64[4], _P32[0]]

    def accumulate(at, secret_at):
        for i in range(8):
            value = _word(data, at + 8 * i)
            keyed = value ^ _word(secret, secret_at + 8 * i)
            lanes[i ^ 1] = lanes[i ^ 1] + value & _MASK
            lanes[i] = lanes[i] + (keyed & 0xFFFFFFFF) * (keyed >> 32) & _MASK

    def merge(secret_at, start):
        for i in range(0, 8, 2):
            start += _fold(lanes[i] ^ _word(secret, secret_at + 8 * i),
                           lanes[i + 1] ^ _word(secret, secret_at + 8 * i + 8))
        return _avalanche(start)

    for stripe in range((size - 1) // 64):
        accumulate(stripe * 64, stripe % 16 * 8)
        if stripe % 16 == 15:
            for i, lane in enumerate(lanes):
                lanes[i] = (lane ^ lane >> 47 ^ _word(secret, 128 + 8 * i)) * _P32[0] & _MASK
    accumulate(size - 64, 121)
    return merge(11, size * _P64[0]), merge(117, ~(size * _P64[1]) & _MASK)


@functools.lru_cache(maxsize=4096)
def trace_id_for(foreign_id):
    """The trace that a correlation id stands for: 32 hex digits are the trace id itself, all else is
    hashed as the host does it, so that who knows one of both ids joins those who know the other."""
    text = str(foreign_id)
    if re.fullmatch("[0-9a-fA-F]{32}", text) and text.strip("0"):
        return text.lower()
    low, high = _xxh3(text.encode("utf-8", "replace"))
    return f"{high << 64 | low or 1:032x}"


# ---- W3C trace context, level 2: the rules of ephor/propagation.hpp ---------------------------------

_TRACEPARENT = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_STATE_MEMBER = re.compile("[a-z0-9][a-z0-9_\\-*/@]{0,255}=[ -+\\--<>-~]{0,255}[!-+\\--<>-~]")
_TOKEN = re.compile("[!#$%&'*+\\-.^_`|~0-9A-Za-z]+")
_BAGGAGE_VALUE = re.compile("[!#-+\\--:<-\\[\\]-~]*")
_BAGGAGE_PROPERTIES = re.compile("[ \\t!#-+\\--\\[\\]-~]*")
_HEADER_ID = re.compile("[!-~]{1,256}")
_SAMPLED, _RANDOM = 1, 2


class Context:
    """One span's place in its trace, as the next in line is told it. `span_id` is "" where only a
    correlation id is known; `baggage` maps names to text."""

    __slots__ = ("trace_id", "span_id", "flags", "correlation_id", "tracestate", "baggage")

    def __init__(self, trace_id, span_id="", flags=_SAMPLED, correlation_id=None, tracestate="", baggage=None):
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.correlation_id = correlation_id or trace_id
        self.tracestate = tracestate
        self.baggage = baggage


def _parse_traceparent(values):
    """(trace id, parent id, flags) of exactly one valid header, else None."""
    if len(values) != 1:
        return None
    match = _TRACEPARENT.fullmatch(values[0].strip(" \t"))
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return trace_id, parent_id, int(flags, 16) & (_SAMPLED | _RANDOM)


def _parse_tracestate(values):
    """The list as one header; "" if there is none or any of it is not valid."""
    members, count = {}, 0
    for value in values:
        for member in value.split(","):
            member = member.strip(" \t")
            if not member:
                continue
            count += 1
            if count > 32 or _STATE_MEMBER.fullmatch(member) is None:
                return ""
            members.setdefault(member.partition("=")[0], member)
    return ",".join(members.values())


def _parse_baggage(values):
    """{name: (value, properties)} or None; bad members are left out, at most 64 and 8192 bytes."""
    found = {}
    for value in values:
        for member in value.split(","):
            pair, _, properties = member.partition(";")
            name, equals, text = (part.strip(" \t") for part in pair.partition("="))
            properties = properties.strip(" \t")
            if (equals and _TOKEN.fullmatch(name) and _BAGGAGE_VALUE.fullmatch(text)
                    and _BAGGAGE_PROPERTIES.fullmatch(properties)
                    and (name in found or len(found) < 64)):
                found[name] = (urllib.parse.unquote(text, errors="replace"), properties)
    while found and len(_format_baggage(found)) > 8192:
        found.popitem()
    return found or None


def _format_baggage(baggage):
    members = []
    for name, value in baggage.items():
        text, properties = value if isinstance(value, tuple) else (value, "")
        member = name + "=" + urllib.parse.quote(str(text), safe="!#$&'()*+-./:<=>?@[]^_`{|}~", errors="replace")
        members.append(member + ";" + properties if properties else member)
    return ",".join(members)


def _values_of(headers, name):
    """All values of a header in any case, of a mapping, a list of pairs or a message."""
    if headers is None:
        return []
    pairs = headers.items() if hasattr(headers, "items") else headers
    found = []
    for key, value in pairs:
        key = key.decode("latin-1") if isinstance(key, bytes) else str(key)
        if key.lower() != name:
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            found.append(one.decode("latin-1") if isinstance(one, bytes) else str(one))
    return found


_current = contextvars.ContextVar("ephor_span", default=None)


def current():
    """The current Span or Context of this thread or task, or None."""
    return _current.get()


class _Scope:
    """Makes a context the current one while a `with` lasts."""

    __slots__ = ("context", "_before")

    def __init__(self, context):
        self.context = context

    def __enter__(self):
        self._before = _current.get()
        _current.set(self.context)
        return self.context

    def __exit__(self, *_):
        _current.set(self._before)

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, *_):
        self.__exit__()


class Span:
    """A piece of work. Use it as `with` or `async with`, or call begin() and end() yourself (then it is
    nobody's parent unless it is given as `parent`). Not for two threads at once."""

    # What most spans never change costs them nothing.
    parent_id = tracestate = ""
    baggage = kind = events = links = status = error_message = _before = None
    start_ns = end_ns = 0

    def set(self, **attributes):
        """Adds attributes. Values of containers are copied."""
        self.attributes.update(_copy(attributes))
        return self

    def event(self, name, **attributes):
        """Something that happened at this moment."""
        self._note({"name": str(name), "time_unix_nano": time.time_ns(), "attributes": _copy(attributes)})

    def link(self, context, **attributes):
        """Says that another span (a Span or Context) has to do with this one."""
        link = {"trace_id": context.trace_id, "span_id": context.span_id, "attributes": _copy(attributes)}
        self.links = (self.links or []) + [link]

    def fail(self, message):
        """Marks the span as failed. `message`: text or an exception."""
        self.status = "error"
        if isinstance(message, BaseException):
            message = f"{type(message).__name__}: {message}"
        self.error_message = str(message)[:4000]

    def begin(self):
        self.start_ns = time.time_ns()
        self._begun = time.perf_counter_ns()
        return self

    def end(self):
        """The second call does nothing."""
        if self.end_ns == 0:
            self.end_ns = self.start_ns + time.perf_counter_ns() - self._begun
            if self.flags & _SAMPLED:
                self._client._append(self)

    def __enter__(self):
        self._before = _current.get()
        _current.set(self)
        self.start_ns = _now()
        self._begun = _ticks()
        return self

    def __exit__(self, kind, error, trace):
        _current.set(self._before)
        if error is not None:
            try:
                self._note_error(error, trace)
            except Exception:  # a message that cannot be made: the span itself still counts
                self.status = "error"
        if self.end_ns == 0:
            self.end_ns = self.start_ns + _ticks() - self._begun
            if self.flags & _SAMPLED:
                self._client._append(self)

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, error, trace):
        self.__exit__(kind, error, trace)

    def _note(self, event):
        if self.events is None:
            self.events = []
        if len(self.events) < 128:
            self.events.append(event)

    def _note_error(self, error, trace):
        if isinstance(error, asyncio.CancelledError):
            self.attributes["cancelled"] = True
            return
        frames = collections.deque(maxlen=8)  # the innermost ones, without reading any source
        while trace is not None:
            code = trace.tb_frame.f_code
            frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        self.fail(error)
        self._note({"name": "exception", "time_unix_nano": time.time_ns(), "attributes": {
            "exception.type": type(error).__name__, "exception.message": str(error)[:4000],
            "exception.stacktrace": "\n".join(reversed(frames))}})


# ---- values into JSON -------------------------------------------------------------------------------

_PLAIN = frozenset((str, int, float, bool, type(None)))


def _copy(value):
    kind = type(value)
    if kind is dict:
        return {key if type(key) is str else _key(key): item if type(item) in _PLAIN else _copy(item)
                for key, item in value.items()}
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return [item if type(item) in _PLAIN else _copy(item) for item in value]
    return _copy_other(value)


def _key(key):
    return str(key.value if isinstance(key, enum.Enum) else key)


def _copy_other(value):
    if isinstance(value, enum.Enum):
        return _copy(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _copy(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return _copy(value._asdict())
    if isinstance(value, dict):
        return _copy(dict(value))
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return [_copy(item) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (float, decimal.Decimal)):
        return float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "tolist"):  # arrays and scalars of numpy, columns of pandas
        return _copy(value.tolist())
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return str(value)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_copy_other).encode


def _time_ns(when):
    """A time as the caller has it: datetime, nanoseconds, or seconds, milliseconds, microseconds since 1970."""
    if isinstance(when, datetime.datetime):
        # Without a zone UTC, as the host reads it by default; exact, unlike timestamp().
        zoned = when if when.tzinfo is not None else when.replace(tzinfo=datetime.timezone.utc)
        past = zoned - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return (past.days * 86_400 + past.seconds) * 1_000_000_000 + past.microseconds * 1000
    value = float(when)
    for limit, factor in ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1000)):
        if abs(value) < limit:
            return int(when * factor) if isinstance(when, int) else round(value * factor)
    return int(when)


class _Renderer:
    """Records into lines of NDJSON; the sender's alone."""

    def __init__(self, source):
        self.source = source
        self.source_json = _encode(source)
        self.boot = f"{time.time_ns() // 1_000_000:x}-{os.urandom(5).hex()}"
        self.count = 0
        self.non_finite = 0
        self._second = (None, "")
        self._known = {}

    def line(self, item):
        """Bytes with a line break at the end. Raises what cannot be written."""
        self.count += 1
        if isinstance(item, Span):
            topic, when, context, correlation_id, data = "ephor.span", item.end_ns, item, None, self._span(item)
            # Its own id: a span that was open at a fork and ends in both processes is one span.
            name = f"{item.trace_id}-{item.span_id}"
        else:
            topic, when, context, correlation_id, data = item
            name = f"{self.boot}-{self.count}"
        if correlation_id is None and context is not None:
            correlation_id = context.correlation_id
        if topic == "":
            return self._bare(data, when, correlation_id)
        parts = ['{"specversion":"1.0","id":"', name, '","source":', self.source_json, ',"type":', self._text(topic),
                 ',"time":"', self.time(when), '"']
        if correlation_id:
            parts += [',"correlationid":', self._text(_clean(correlation_id))]
        if context is not None and context.span_id:
            parts += [',"traceparent":"00-', context.trace_id, "-", context.span_id,
                      "-%02x" % context.flags, '"']
        parts += [',"data":', self._data(data), "}\n"]
        return "".join(parts).encode("utf-8", "replace")

    def time(self, ns):
        second, fraction = divmod(ns, 1_000_000_000)
        known = self._second  # taken once: record() comes here from other threads
        if known[0] != second:
            known = self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{known[1]}.{fraction:09d}Z"

    def _text(self, text):
        known = self._known.get(text)
        if known is None:
            if len(self._known) > 4096:
                self._known.clear()
            known = self._known[text] = _encode(text)
        return known

    def _data(self, data):
        try:
            return _encode(data)
        except (ValueError, TypeError):
            return _encode(self._without_non_finite(_copy(data)))

    def _without_non_finite(self, value):
        if isinstance(value, dict):
            return {key: self._without_non_finite(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._without_non_finite(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            self.non_finite += 1
            return None
        return value

    def _span(self, span):
        data = {"trace_id": span.trace_id, "span_id": span.span_id, "component": _name(span.component),
                "operation": _name(span.operation), "start_time_unix_nano": span.start_ns,
                "end_time_unix_nano": span.end_ns, "status": span.status or "ok"}
        if span.parent_id:
            data["parent_span_id"] = span.parent_id
        for name in ("kind", "error_message", "attributes", "events", "links"):
            value = getattr(span, name)
            if value:
                data[name] = value
        return data

    def _bare(self, record, when, correlation_id):
        if not record.get("source"):
            record["source"] = self.source
        if not (record.get("timestamp") or record.get("request_timestamp")):
            record["timestamp"] = self.time(when)
        if correlation_id and not record.get("correlation_id"):
            record["correlation_id"] = _clean(correlation_id)
        return (self._data(record) + "\n").encode("utf-8", "replace")


def _name(value):
    text = value if type(value) is str else _key(value)
    return _clean(text) or "unknown"


_CONTROL = re.compile("[\x00-\x1f\x7f]")


def _clean(text):
    """What the host takes as an id: no control characters, at most 256 bytes."""
    text = str(text)
    if len(text) > 64 or not text.isprintable():
        text = _CONTROL.sub(" ", text).encode("utf-8", "replace")[:256].decode("utf-8", "ignore")
    return text


# ---- what waits: frames of lines in memory, then in the spool ----------------------------------------


class _Frame:
    """Lines that are sent together. `own`: made by this process, so flush() waits for it."""

    __slots__ = ("body", "count", "packed", "own")

    def __init__(self, body, count, packed=False, own=True):
        self.body = body
        self.count = count
        self.packed = packed
        self.own = own

    def pack(self):
        if not self.packed:
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            self.body = packer.compress(self.body) + packer.flush()
            self.packed = True

    def lines(self):
        return (zlib.decompress(self.body, 31) if self.packed else self.body).splitlines(keepends=True)


class _Spool:
    """A bounded queue of frames in files: segments of a few MB that are deleted when they are delivered.
    Each client holds a lock on its own; what a dead one left is taken over by the next that starts."""

    _HEAD = struct.Struct(">4sIII")  # magic, bytes, records, CRC-32 of the bytes
    _MAGIC = b"EPH1"
    _SEGMENT_BYTES = 4 << 20

    def __init__(self, folder, name, boot, bytes_max):
        self.folder = folder
        self.prefix = re.sub("[^A-Za-z0-9_.-]", "_", name)[:80] or "client"
        self.boot = boot
        self.bytes_max = bytes_max
        self.segments = collections.deque()  # [path, bytes, own?], oldest first
        self.bytes = 0
        self.torn = 0  # frames that are not whole; a killed process may leave one
        self.writing = None
        self.reading = None  # (path, file)
        self.head = None     # the frame that peek() gave
        self.locks = {}      # path of a lock: file
        self.index = 0
        os.makedirs(folder, exist_ok=True)
        self.adopt()

    def __bool__(self):
        return bool(self.segments)

    def adopt(self):
        """Takes over the segments of clients that are no more."""
        for name in sorted(os.listdir(self.folder)):
            path = os.path.join(self.folder, name)
            if not (name.startswith(self.prefix + "~") and name.endswith(".lock")) or path in self.locks:
                continue
            lock = self._lock(path)
            if lock is None:
                continue
            self.locks[path] = lock
            stem = name[:-len(".lock")]
            for segment in sorted(os.listdir(self.folder)):
                if segment.startswith(stem + ".") and segment.endswith(".spool"):
                    size = os.path.getsize(os.path.join(self.folder, segment))
                    self.segments.append([os.path.join(self.folder, segment), size, False])
                    self.bytes += size

    @staticmethod
    def _lock(path):
        if fcntl is None:
            return None
        try:
            file = open(path, "r+b")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == os.stat(path).st_ino:
                return file
        except OSError:
            pass
        file.close()
        return None

    def append(self, frame):
        """False: it does not fit, or the disk does not take it."""
        frame.pack()
        head = self._HEAD.pack(self._MAGIC, len(frame.body), frame.count, zlib.crc32(frame.body))
        size = len(head) + len(frame.body)
        if self.bytes + size > self.bytes_max:
            return False
        try:
            if self.writing is None or self.segments[-1][1] + size > self._SEGMENT_BYTES:
                self._open_segment()
            before = self.writing.tell()
            try:
                if self.writing.write(head + frame.body) != size:
                    raise OSError("no room for the whole of a frame")
            except OSError:
                self.writing.seek(before)
                self.writing.truncate()
                raise
        except OSError as error:
            log.warning("the spool %s cannot be written: %s", self.folder, error)
            return False
        self.segments[-1][1] += size
        self.bytes += size
        return True

    def _stem(self):
        return os.path.join(self.folder, f"{self.prefix}~{self.boot}")

    def _open_segment(self):
        lock = self._stem() + ".lock"
        if lock not in self.locks:
            file = open(lock, "w+b")
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.locks[lock] = file
        if self.writing is not None:
            self.writing.close()
        self.index += 1
        path = f"{self._stem()}.{self.index:06d}.spool"
        # Without a buffer: after fork() a child would write what it inherited a second time.
        self.writing = open(path, "wb", buffering=0)
        self.segments.append([path, 0, True])

    def peek(self):
        """The oldest frame, or None."""
        while self.head is None and self.segments:
            path, _, own = self.segments[0]
            try:
                if self.reading is None or self.reading[0] != path:
                    self._close_reading()
                    self.reading = (path, open(path, "rb"))
                file = self.reading[1]
                head = file.read(self._HEAD.size)
                if len(head) == self._HEAD.size:
                    magic, size, count, checksum = self._HEAD.unpack(head)
                    body = file.read(size) if magic == self._MAGIC and size <= 1 << 30 else b""
                    if len(body) == size and zlib.crc32(body) == checksum and count > 0:
                        self.head = _Frame(body, count, packed=True, own=own)
                        break
                if head:
                    self.torn += 1
                    if len(head) == self._HEAD.size and magic == self._MAGIC and len(body) == size:
                        continue  # spoilt, but where the next one begins is known
            except OSError as error:
                log.warning("the spool's %s cannot be read: %s", path, error)
                self.torn += 1
            self._drop_segment()
        return self.head

    def pop(self):
        """Forgets what peek() gave. A segment goes when its last frame has been delivered: until then a
        killed process sends it again, and the host knows the ids."""
        path, size, _ = self.segments[0]
        self.head = None
        if self.reading[1].tell() >= size:
            self._drop_segment()

    def _drop_segment(self):
        path, size, _ = self.segments.popleft()
        self.bytes -= size
        self._close_reading()
        if self.writing is not None and self.writing.name == path:
            self.writing.close()
            self.writing = None
        _remove(path)
        if not self.segments:
            self._release_locks()

    def _release_locks(self):
        for path, file in self.locks.items():
            _remove(path)
            file.close()
        self.locks.clear()

    def _close_reading(self):
        if self.reading is not None:
            self.reading[1].close()
            self.reading = None
        self.head = None

    def close(self, is_forked=False):
        self._close_reading()
        if self.writing is not None:
            self.writing.close()
            self.writing = None
        if is_forked or self.segments:
            for file in self.locks.values():
                file.close()
        else:
            self._release_locks()


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


# ---- the client -------------------------------------------------------------------------------------


class Client:
    """Sends records to one host, from any thread or task.

    url            http(s)://HOST:PORT, default the environment's EPHOR_URL; None or "" : nothing is sent
    source         who speaks, e.g. the program's name; part of every event
    token          bearer token, default EPHOR_TOKEN
    component      of spans that name none; default `source`
    spool_dir      folder for what waits while the host is away; None: memory only
    spool_bytes_max, memory_bytes_max, queue_records_max   the bounds of what waits
    interval_s     how long a record waits for company at most
    batch_records, batch_bytes   how much goes into one request at most
    timeout_s      of one request; exit_timeout_s: how long the program's end may wait for the last
    sample_rate    share of new traces whose spans are recorded, by trace id; other records always are
    compress       True, False, or None: unless the host is this machine
    correlation_header   its name, in and out
    """

    def __init__(self, url=None, source="python", *, token=None, component=None, spool_dir=None,
                 spool_bytes_max=256 << 20, memory_bytes_max=16 << 20, queue_records_max=20_000,
                 interval_s=0.25, batch_records=500, batch_bytes=1 << 20, timeout_s=10.0, exit_timeout_s=3.0,
                 retry_s=(0.1, 30.0), sample_rate=1.0, compress=None, correlation_header="X-Correlation-ID"):
        url = os.environ.get("EPHOR_URL", "") if url is None else url
        self._address = urllib.parse.urlsplit(url) if url else None
        if url and (self._address.scheme not in ("http", "https") or not self._address.hostname):
            raise ValueError(f"url: found {url!r}, expected http://HOST:PORT")
        if not 0.0 <= sample_rate <= 1.0:
            raise ValueError(f"sample_rate: found {sample_rate}, expected 0 to 1")
        self.source = _clean(source) or "python"
        self.component = component or self.source
        self.correlation_header = correlation_header
        self._token = os.environ.get("EPHOR_TOKEN") if token is None else token
        self._spool_dir = spool_dir
        self._spool_bytes_max = spool_bytes_max
        self._memory_bytes_max = memory_bytes_max
        self._records_max = queue_records_max
        self._interval_s = interval_s
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._timeout_s = timeout_s
        self._exit_timeout_s = exit_timeout_s
        self._retry_s = retry_s
        self._sampled_below = int(sample_rate * (1 << 56))
        local = self._address is not None and self._address.hostname in ("127.0.0.1", "localhost", "::1")
        self._compress = not local if compress is None else compress
        # What its spans share is in their class: a span sets what is its own.
        self._span = type("Span", (Span,), {"_client": self, "component": self.component})
        self._reset()
        _clients.add(self)
        if url:
            self._start()  # not on the first record: starting a thread can take milliseconds

    def _reset(self):
        """What belongs to one process; a forked child begins anew."""
        self._queue = collections.deque()
        self._queue_max = 0  # until there is a thread; nothing may ask more of recording than one bound
        self._wake_at = self._records_max // 2
        self._thread = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._renderer = _Renderer(self.source)
        self._spool = None
        self._memory = collections.deque()
        self._memory_bytes = 0
        self._markers = collections.deque()
        self._made = self._done = 0  # own frames
        self._stop_at = None
        self._connection = None
        self._next_try = 0.0
        self._failures = 0
        self._said = set()
        self._rejections = {}
        self._counts = dict.fromkeys(
            ("recorded", "accepted", "duplicate", "rejected", "refused", "unencodable", "dropped_backlog_full",
             "dropped_queue_full", "dropped_closed", "invalid", "errors", "requests", "retries", "spooled"), 0)
        self._last_error = None

    # -- spans and context

    def span(self, operation, component=None, *, correlation_id=None, parent=None, kind=None, links=(),
             **attributes):
        """A Span below the current one, or below `parent` (a Span or Context). `correlation_id` begins a
        trace for that id where there is none to go on with."""
        span = self._span()
        if parent is None:
            parent = _current.get()
        if parent is not None:
            span.trace_id = parent.trace_id
            span.parent_id = parent.span_id
            span.flags = parent.flags
            span.correlation_id = parent.correlation_id if correlation_id is None else _clean(correlation_id)
            if parent.tracestate:
                span.tracestate = parent.tracestate
            if parent.baggage is not None:
                span.baggage = parent.baggage
        else:
            if correlation_id is None:
                span.trace_id = span.correlation_id = _ids.trace_id()
                span.flags = _RANDOM
            else:
                span.correlation_id = _clean(correlation_id)
                span.trace_id = trace_id_for(span.correlation_id)
                span.flags = 0
            if int(span.trace_id[18:], 16) < self._sampled_below:
                span.flags |= _SAMPLED
        span.span_id = _ids.span_id()
        span.operation = operation
        if component is not None:
            span.component = component
        if kind is not None:
            span.kind = kind
        if attributes:
            for name, value in attributes.items():
                if type(value) not in _PLAIN:
                    attributes[name] = _copy(value)
        span.attributes = attributes
        if links:
            for link in links:
                span.link(link)
        return span

    def traced(self, operation=None, component=None, **attributes):
        """Decorator: each call of a function, plain or async, is a span. `@traced` and `@traced(...)`."""
        if callable(operation):
            return self.traced()(operation)

        def decorate(function):
            name = operation or function.__qualname__
            if inspect.iscoroutinefunction(function):
                @functools.wraps(function)
                async def call(*args, **more):
                    with self.span(name, component, **attributes):
                        return await function(*args, **more)
            else:
                @functools.wraps(function)
                def call(*args, **more):
                    with self.span(name, component, **attributes):
                        return function(*args, **more)
            return call

        return decorate

    def correlate(self, correlation_id):
        """`with client.correlate(id):` all that is recorded inside carries this correlation id."""
        correlation_id = _clean(correlation_id)
        trace_id = trace_id_for(correlation_id)
        flags = _SAMPLED if int(trace_id[18:], 16) < self._sampled_below else 0
        return _Scope(Context(trace_id, "", flags, correlation_id))

    def extract(self, headers):
        """The Context that a request's headers name (a mapping or pairs), or None if they name none."""
        try:
            parent = _parse_traceparent(_values_of(headers, "traceparent"))
            baggage = _parse_baggage(_values_of(headers, "baggage"))
            correlation_id = None
            for value in _values_of(headers, self.correlation_header.lower()):
                if correlation_id is None and _HEADER_ID.fullmatch(value.strip(" \t")):
                    correlation_id = value.strip(" \t")
            if correlation_id is None and baggage and "correlation.id" in baggage:
                correlation_id = _clean(baggage["correlation.id"][0]) or None
            if parent is not None:
                state = _parse_tracestate(_values_of(headers, "tracestate"))
                return Context(parent[0], parent[1], parent[2], correlation_id, state, baggage)
            if correlation_id is None:
                return None
            trace_id = trace_id_for(correlation_id)
            flags = _SAMPLED if int(trace_id[18:], 16) < self._sampled_below else 0
            return Context(trace_id, "", flags, correlation_id, "", baggage)
        except Exception as error:
            self._note_error(error)
            return None

    def serve(self, headers, operation, component=None, **attributes):
        """The Span of a request that came with these headers."""
        return self.span(operation, component, parent=self.extract(headers), **attributes)

    def inject(self, headers=None, span=None):
        """Adds to `headers` (a mapping) what names the current span, or `span`; gives them back."""
        headers = {} if headers is None else headers
        try:
            span = _current.get() if span is None else span
            if span is None:
                return headers
            if span.span_id:
                headers["traceparent"] = f"00-{span.trace_id}-{span.span_id}-{span.flags:02x}"
                if span.tracestate:
                    headers["tracestate"] = span.tracestate
            baggage = span.baggage
            if _HEADER_ID.fullmatch(span.correlation_id):
                headers[self.correlation_header] = span.correlation_id
            else:
                baggage = dict(baggage or {}, **{"correlation.id": span.correlation_id})
            if baggage:
                headers["baggage"] = _format_baggage(baggage)
        except Exception as error:
            self._note_error(error)
        return headers

    @staticmethod
    def bind(function):
        """`function`, called in whatever thread, below the span that is current now."""
        span = _current.get()

        @functools.wraps(function)
        def call(*args, **more):
            with _Scope(span):
                return function(*args, **more)

        return call

    # -- records

    def event(self, topic, data, *, time=None, correlation_id=None):
        """One event of any type; `data` a mapping. False: it was refused, and counted."""
        try:
            when = _now() if time is None else _time_ns(time)
            return self._append((topic, when, _current.get(), correlation_id, _copy(data)))
        except Exception as error:
            return self._note_error(error)

    def _event(self, topic, data, fields):
        # `fields` is the callee's own: what is left after time and correlation id joins the data.
        try:
            when = correlation_id = None
            if fields:
                for name, value in fields.items():
                    if type(value) not in _PLAIN and name != "time":
                        fields[name] = _copy(value)
                if "time" in fields:
                    when = fields.pop("time")
                if "correlation_id" in fields:
                    correlation_id = fields.pop("correlation_id")
                data.update(fields)
            item = (topic, _now() if when is None else _time_ns(when), _current.get(), correlation_id, data)
        except Exception as error:
            return self._note_error(error)
        queue = self._queue  # as _append(), for whom this is most of the cost
        waiting = len(queue)
        if waiting >= self._queue_max:
            return self._append(item)
        queue.append(item)
        if waiting == self._wake_at:
            self._wake.set()
        return True

    def prediction(self, model_id, prediction, prediction_id=None, **fields):
        """What a model says: a label or a number. Gives the prediction's id, which its outcome names."""
        prediction_id = prediction_id or "pred-" + _ids.span_id()
        self._event("ephor.prediction", {"prediction_id": prediction_id, "model_id": model_id,
                                         "prediction": prediction}, fields)
        return prediction_id

    def outcome(self, actual, prediction_id=None, decision_id=None, **fields):
        """What came true; names the prediction or the decision."""
        data = {"actual": actual}
        if prediction_id is not None:
            data["prediction_id"] = prediction_id
        if decision_id is not None:
            data["decision_id"] = decision_id
        return self._event("ephor.outcome", data, fields)

    def decision(self, ensemble_id, final_decision=None, decision_id=None, **fields):
        """What the ensemble decided. Gives the decision's id; the current span carries it too."""
        decision_id = decision_id or "dec-" + _ids.span_id()
        data = {"decision_id": decision_id, "ensemble_id": ensemble_id}
        if final_decision is not None:
            data["final_decision"] = final_decision
        self._join("decision_id", decision_id)
        self._event("ephor.ensemble_decision", data, fields)
        return decision_id

    def decision_path(self, decision_id, **fields):
        """Why: decision_steps, decision_reasons, decision_weights, decision_thresholds."""
        return self._event("ephor.decision_path", {"decision_id": decision_id}, fields)

    def regime(self, regime_type, **fields):
        return self._event("ephor.regime", {"regime_type": regime_type}, fields)

    def features(self, features, **fields):
        """Numbers by name, as a model saw them."""
        return self._event("ephor.features", {"features": _copy(features)}, fields)

    def feature_importance(self, model_id, importance, **fields):
        return self._event("ephor.feature_importance",
                           {"model_id": model_id, "importance": _copy(importance)}, fields)

    def model_behavior(self, model_id, **fields):
        return self._event("ephor.model_behavior", {"model_id": model_id}, fields)

    def metric(self, name, value, unit=None, *, kind=None, time=None, **labels):
        """One sample. `labels` are any other names; a value that is not finite is refused."""
        try:
            if type(value) not in _PLAIN:
                value = _copy(value)
            if value != value or value in (math.inf, -math.inf):
                self._count("invalid")
                return False
            data = {"name": name, "value": value}
            if unit is not None:
                data["unit"] = unit
            if kind is not None:
                data["kind"] = kind
            if labels:
                data["labels"] = _copy(labels)
            return self._append(("ephor.metric", _now() if time is None else _time_ns(time), _current.get(),
                                 None, data))
        except Exception as error:
            return self._note_error(error)

    def order(self, order_id, symbol, side, quantity, status, **fields):
        self._join("order_id", order_id)
        return self._event("ephor.order", {"order_id": order_id, "symbol": symbol, "side": side,
                                           "quantity": quantity, "status": status}, fields)

    def fill(self, order_id, price, quantity, **fields):
        return self._event("ephor.fill", {"order_id": order_id, "price": price,
                                          "quantity": quantity}, fields)

    def trade(self, trade_id, symbol, side, quantity, price, status, **fields):
        """One state of a trade as flat fields; see trade_record() for whole TradeRecords."""
        self._join("trade_id", trade_id)
        return self._event("ephor.trade", {"trade_id": trade_id, "symbol": symbol, "side": side,
                                           "quantity": quantity, "price": price,
                                           "status": status}, fields)

    def market(self, symbol, **fields):
        return self._event("ephor.market", {"symbol": symbol}, fields)

    def deployment(self, model_id, model_version, **fields):
        return self._event("ephor.deployment",
                           {"model_id": model_id, "model_version": model_version}, fields)

    def retrain_status(self, retrain_id, status, **fields):
        return self._event("ephor.retrain_status", {"retrain_id": retrain_id, "status": status}, fields)

    def benchmark(self, name, **fields):
        return self._event("ephor.benchmark", {"name": name}, fields)

    def reference(self, model_id, **fields):
        return self._event("ephor.reference", {"model_id": model_id}, fields)

    def log(self, severity, body, logger=None, attributes=None, **fields):
        data = {"severity": severity, "body": _copy(body)}
        if logger is not None:
            data["logger"] = logger
        if attributes:
            data["attributes"] = _copy(attributes)
        return self._event("ephor.log", data, fields)

    def record(self, kind, record, *, time=None, correlation_id=None):
        """A record in the program's own shape ("trade_record", "trade_decision_context", ...), a mapping
        or a dataclass; the host takes it apart."""
        try:
            copied = _copy(record)
            if not isinstance(copied, dict):
                raise TypeError(f"record: found {type(record).__name__}, expected a mapping or a dataclass")
            copied["type"] = kind
            if time is not None:
                copied["timestamp"] = self._renderer.time(_time_ns(time))
            return self._append(("", _now(), _current.get(), correlation_id, copied))
        except Exception as error:
            return self._note_error(error)

    def trade_record(self, record, **more):
        """A whole TradeRecord with its nested ensemble_decision, regime_analysis, decision_path and
        model_behaviors. Sent again with another status it is the same trade's next state."""
        return self.record("trade_record", record, **more)

    # -- delivery

    def flush(self, timeout_s=10.0):
        """Waits until all that was recorded before has been answered by the host: True, or False if it
        was not in time."""
        if self._address is None or self._is_closed:
            return not self._queue
        marker = threading.Event()
        self._start()
        self._queue.append(marker)
        self._wake.set()
        return marker.wait(timeout_s)

    def close(self, timeout_s=None):
        """Sends what waits for at most `timeout_s` (default exit_timeout_s), spools the rest, and ends
        the thread. Later records are refused. True: nothing was lost or left in memory."""
        timeout_s = self._exit_timeout_s if timeout_s is None else timeout_s
        with self._lock:
            if self._is_closed:
                return True
            self._is_closed = True
            self._queue_max = 0
        if self._address is None:
            return True
        thread = self._thread  # none: a forked child that recorded nothing
        if thread is None:
            return True
        lost = self._counts["dropped_backlog_full"]
        self._stop_at = time.monotonic() + timeout_s
        self._wake.set()
        thread.join(timeout_s + 0.5)
        if thread.is_alive():  # in a request that hangs
            connection = self._connection
            if connection is not None and connection.sock is not None:
                try:
                    connection.sock.shutdown(2)
                except OSError:
                    pass
            thread.join(2.0)
        return not thread.is_alive() and self._counts["dropped_backlog_full"] == lost

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def stats(self):
        """Counts of this process: what became of every record, and what waits."""
        found = dict(self._counts)
        queue = sum(1 for item in list(self._queue) if not isinstance(item, threading.Event))
        spool = self._spool
        found.update(waiting_records=queue + sum(frame.count for frame in list(self._memory)),
                     spool_bytes=spool.bytes if spool is not None else 0,
                     spool_torn=spool.torn if spool is not None else 0,
                     non_finite=self._renderer.non_finite, last_error=self._last_error,
                     rejections=dict(self._rejections))
        found["recorded"] += queue
        return found

    def _append(self, item):
        queue = self._queue
        waiting = len(queue)
        if waiting >= self._queue_max:
            if self._thread is None and self._start():  # the first record of a forked child
                return self._append(item)
            if self._address is not None:
                self._count("dropped_closed" if self._is_closed else "dropped_queue_full")
            return False
        queue.append(item)
        if waiting == self._wake_at:
            self._wake.set()
        return True

    def _count(self, name, by=1):
        with self._lock:
            self._counts[name] += by

    def _note_error(self, error):
        """What went wrong while recording: counted, logged once, never raised."""
        try:
            self._count("errors")
            self._say_once(("record", type(error).__name__, str(error)[:200]), "a record was refused: %s: %s",
                           type(error).__name__, error)
        except Exception:  # not even the logging of the error may reach the caller
            pass
        return False

    def _say_once(self, key, text, *arguments):
        with self._lock:
            if key in self._said or len(self._said) >= 256:
                return
            self._said.add(key)
        log.warning(text, *arguments)

    def _join(self, name, value):
        span = _current.get()
        if isinstance(span, Span) and name not in span.attributes:
            span.attributes[name] = value

    def _start(self):
        with self._lock:
            if self._thread is not None or self._is_closed or self._address is None:
                return False
            thread = threading.Thread(target=self._run, name="ephor-client", daemon=True)
            self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter is ending
            self._last_error = str(error)
        self._queue_max = self._records_max
        _close_with_process(self)
        return True

    # The sender's thread. The sole user of renderer, memory, spool and connection.

    def _run(self):
        try:
            if self._spool_dir is not None:
                try:
                    self._spool = _Spool(self._spool_dir, self.source, self._renderer.boot, self._spool_bytes_max)
                except OSError as error:
                    self._last_error = f"spool {self._spool_dir}: {error}"
                    log.warning("no spool in %s: %s", self._spool_dir, error)
            while True:
                try:
                    self._drain()
                    self._deliver()
                except Exception as error:  # a defect must neither pass silently nor end the sending
                    self._count("errors")
                    self._say_once(("send", type(error).__name__), "sending failed: %r", error)
                    self._retry_later(repr(error))
                stop_at = self._stop_at
                if stop_at is not None and (time.monotonic() >= stop_at or self._is_idle()):
                    break
                self._wake.wait(self._pause())
                self._wake.clear()
            while self._queue:
                self._drain()
            self._keep()
            if self._memory:
                self._count("dropped_backlog_full", sum(frame.count for frame in self._memory))
                self._memory.clear()
        except Exception as error:  # a defect here must not pass silently
            self._last_error = repr(error)
            log.exception("the sender stopped; records are refused from now on")
            self._queue_max = 0
        finally:
            self._disconnect()
            if self._spool is not None:
                self._spool.close()

    def _is_idle(self):
        """Nothing waits, or the host is away and all of it is safe in the spool."""
        return not self._queue and not self._memory and (not self._spool or self._failures > 0)

    def _pause(self):
        """How long to sleep: an interval, less if a retry or the end is due."""
        pause = self._interval_s
        now = time.monotonic()
        if self._memory or self._spool:
            pause = min(pause, max(0.005, self._next_try - now))
        if self._stop_at is not None:
            pause = min(pause, max(0.0, self._stop_at - now), 0.05)
        return pause

    def _drain(self):
        """The queue into frames. Pauses between slices, so that the program's own threads do not wait
        for the interpreter longer than a slice takes."""
        lines, size, done = [], 0, 0
        queue = self._queue
        while queue:
            item = queue.popleft()
            if type(item) is threading.Event:
                self._make(lines)
                lines, size = [], 0
                self._markers.append((self._made, item))
                continue
            self._count("recorded")
            try:
                line = self._renderer.line(item)
            except Exception as error:
                self._count("unencodable")
                self._say_once(("encode", type(error).__name__), "a record cannot be written: %r", error)
                continue
            lines.append(line)
            size += len(line)
            if len(lines) >= self._batch_records or size >= self._batch_bytes:
                self._make(lines)
                lines, size = [], 0
            done += 1
            if done % 16 == 0:
                time.sleep(0.00005)
                if done >= 4 * self._batch_records:
                    break
        self._make(lines)
        if queue:
            self._wake.set()

    def _make(self, lines):
        if not lines:
            return
        frame = _Frame(b"".join(lines), len(lines))
        self._made += 1
        if not self._memory and self._spool and self._spool.append(frame):
            self._count("spooled", frame.count)
            return
        if self._memory_bytes + len(frame.body) > self._memory_bytes_max:
            self._keep()
        if self._memory_bytes + len(frame.body) > self._memory_bytes_max:
            self._count("dropped_backlog_full", frame.count)
            self._made -= 1
            return
        self._memory.append(frame)
        self._memory_bytes += len(frame.body)

    def _keep(self):
        """Moves what waits in memory into the spool, oldest first, as far as it fits."""
        while self._memory and self._spool is not None:
            frame = self._memory[0]
            size = len(frame.body)
            if not self._spool.append(frame):
                self._memory_bytes += len(frame.body) - size  # it may have been packed
                break
            self._memory.popleft()
            self._memory_bytes -= size
            self._count("spooled", frame.count)

    def _deliver(self):
        """Sends the oldest frames first, until there are none or the host does not take them."""
        self._settle_markers()
        while self._memory or self._spool:
            if time.monotonic() < self._next_try:
                self._keep()
                return
            frame = self._spool.peek() if self._spool else None
            is_spooled = frame is not None
            if frame is None:
                if not self._memory:
                    continue
                frame = self._memory[0]
            if not self._send(frame):
                self._keep()
                return
            if is_spooled:
                self._spool.pop()
            else:
                self._memory.popleft()
                self._memory_bytes -= len(frame.body)
            if frame.own:
                self._done += 1
            self._settle_markers()
            if self._stop_at is not None and time.monotonic() >= self._stop_at:
                return
        self._settle_markers()

    def _settle_markers(self):
        while self._markers and self._done >= self._markers[0][0]:
            self._markers.popleft()[1].set()

    def _send(self, frame):
        """True: the host has answered for each record of the frame."""
        size = len(frame.body)
        if self._compress and not frame.packed and size > 1024:
            frame.pack()
            if self._memory and self._memory[0] is frame:
                self._memory_bytes += len(frame.body) - size
        try:
            status, headers, body = self._post(frame)
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            return self._retry_later(f"{type(error).__name__}: {error}")
        answer = _json_object(body)
        if status in (200, 400) and "rejections" in answer:  # else it is not Ephor who answered
            self._failures = 0
            for name in ("accepted", "duplicate", "rejected"):
                self._count(name, int(answer.get(name) or 0))
            self._note_rejections(frame, answer.get("rejections") or [])
            return True
        said = str((answer.get("error") or {}).get("message") or body[:200])
        if status == 413 and frame.count > 1:
            return self._send_halves(frame)
        if status in (400, 413):
            self._count("refused", frame.count)
            self._say_once(("status", status), "the host refused %d records with %d: %s", frame.count, status, said)
            return True
        self._say_once(("status", status), "the host answered %d: %s", status, said)
        return self._retry_later(f"{status} {said}", _retry_after(headers.get("Retry-After")))

    def _send_halves(self, frame):
        lines = frame.lines()
        half = len(lines) // 2
        # What of it went through before a failure goes again, and is a duplicate then.
        return all(self._send(_Frame(b"".join(part), len(part))) for part in (lines[:half], lines[half:]))

    def _post(self, frame):
        self._counts["requests"] += 1
        is_reused = self._connection is not None
        for attempt in (1, 2):
            if self._connection is None:
                kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
                self._connection = kind(self._address.hostname, self._address.port, timeout=self._timeout_s)
            headers = {"Content-Type": "application/x-ndjson", "User-Agent": "ephor-python/1"}
            if frame.packed:
                headers["Content-Encoding"] = "gzip"
            if self._token:
                headers["Authorization"] = "Bearer " + self._token
            try:
                self._connection.request("POST", self._address.path.rstrip("/") + "/api/events", frame.body, headers)
                response = self._connection.getresponse()
                body = response.read(16 << 20)
                if response.will_close or not response.isclosed():
                    self._disconnect()
                return response.status, response.headers, body
            except (ConnectionError, http.client.BadStatusLine):
                # An idle connection that the host has closed meanwhile says nothing about the host.
                self._disconnect()
                if not is_reused or attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _disconnect(self):
        if self._connection is not None:
            try:
                self._connection.close()
            except OSError:
                pass
            self._connection = None

    def _retry_later(self, why, after_s=None):
        self._last_error = why
        self._count("retries")
        first, last = self._retry_s
        pause = min(last, first * 2.0 ** min(self._failures, 30)) * (0.75 + random.random() / 2.0)
        self._failures += 1
        if after_s is not None:
            pause = max(after_s, first)
        self._next_try = time.monotonic() + pause
        return False

    def _note_rejections(self, frame, rejections):
        if not rejections:
            return
        lines = frame.lines()
        for one in rejections:
            number = int(one.get("line") or 0)
            reason, pointer = str(one.get("reason")), str(one.get("pointer") or "")
            record = _json_object(lines[number - 1]) if 0 < number <= len(lines) else {}
            # What was found differs from record to record, what was expected does not.
            key = (str(record.get("type")), re.sub("[0-9]+", "0", pointer), reason.rpartition(", expected")[2])
            self._say_once(key, "the host rejected a %s at %s: %s (said once; see stats())", key[0],
                           pointer or "/", reason)
            with self._lock:
                if key in self._said:
                    self._rejections[key] = self._rejections.get(key, 0) + 1


class ContextExecutor(concurrent.futures.ThreadPoolExecutor):
    """A thread pool whose calls run below the span that was current when they were submitted."""

    def submit(self, function, /, *args, **more):
        return super().submit(Client.bind(function), *args, **more)


class LogHandler(logging.Handler):
    """Python's log records as ephor.log, joined to the current span: its trace and correlation id."""

    _SEVERITIES = ((50, "fatal"), (40, "error"), (30, "warning"), (20, "info"), (10, "debug"), (0, "trace"))

    def __init__(self, client, level=logging.NOTSET):
        super().__init__(level)
        self._client = client

    def emit(self, record):
        if record.name == log.name:  # the client's own words about sending would make more of themselves
            return
        try:
            severity = next((name for level, name in self._SEVERITIES if record.levelno >= level), "trace")
            attributes = {"file": record.filename if hasattr(record, "filename") else record.pathname,
                          "line": record.lineno, "function": record.funcName, "thread": record.threadName}
            if record.exc_info and record.exc_info[1] is not None:
                attributes["exception.type"] = type(record.exc_info[1]).__name__
                attributes["exception.message"] = str(record.exc_info[1])[:4000]
            self._client.log(severity, record.getMessage()[:16_000], record.name, attributes,
                             time=int(record.created * 1e9))
        except Exception as error:
            self._client._note_error(error)


def _json_object(text):
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after(text):
    """Seconds of a Retry-After header (a number or a date), at most ten minutes; None: there is none."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), 600.0) if math.isfinite(seconds) else None


_clients = weakref.WeakSet()


def _close_all():
    for client in list(_clients):
        client.close()


def _after_fork():
    _ids.reset()
    for client in list(_clients):
        spool, connection = client._spool, client._connection
        was_closed = client._is_closed
        try:
            if spool is not None:
                spool.close(is_forked=True)
            if connection is not None and connection.sock is not None:
                os.close(connection.sock.detach())
        except Exception:  # what the parent held open does not matter to the child
            pass
        client._reset()
        client._is_closed = was_closed


def _close_with_process(client):
    """Children of multiprocessing end without atexit; they have finalizers of their own."""
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(client, client.close, exitpriority=100)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
