"""Writes python.json: numbers and strings as Python's json module prints them.

    python3 python.py > python.json

The seed is fixed, so that the table is the same every time.
"""
import json
import math
import random
import struct
import sys

random.seed(8259)
floats = {0.0, -0.0, 0.1, 0.5, 1.0, 256.0, 1e15, 1e16, 1e17, 1e22, 1e23, 1e-4, 1e-5, 9.999e-5, 0.00012345,
          9007199254740991.0, 9007199254740992.0, 9007199254740994.0, 5e-324, 2.2250738585072014e-308,
          1.7976931348623157e308, 123456789.125, 1.2345678901234567e20, math.pi, 9999999999999998.0}
for e in range(-323, 309):
    floats.add(float("1e%d" % e))
    floats.add(math.nextafter(float("1e%d" % e), 0))
    floats.add(math.nextafter(float("1e%d" % e), math.inf))
for e in range(-1074, 1024, 7):
    floats.add(math.ldexp(1.0, e))
while len(floats) < 4500:
    f = struct.unpack("<d", struct.pack("<Q", random.getrandbits(63)))[0]
    if math.isfinite(f):
        floats.add(f)
    floats.add(round(random.uniform(0, 100000), random.randrange(6)))

points = list(range(0x20)) + [0x22, 0x2f, 0x3c, 0x3e, 0x26, 0x5c, 0x7e, 0x7f, 0x80, 0xa0, 0xe9, 0xff, 0x100, 0x7ff, 0x800,
                              0x2028, 0x2029, 0xd7ff, 0xe000, 0xfeff, 0xfffd, 0xffff, 0x10000, 0x1f999, 0x10ffff]
strings = [chr(p) for p in points] + ["", "plain", "café", "日本語", "a\"b\\c/d", "http://203.0.113.7:41234"]
while len(strings) < 500:
    strings.append("".join(chr(random.choice(points + [random.randrange(0xd800), random.randrange(0xe000, 0x110000)]))
                           for _ in range(random.randrange(1, 12))))

# A number travels as its bits, so that reading the table needs no float parser.
bits = [struct.unpack("<Q", struct.pack("<d", f))[0] for f in sorted(floats, key=lambda f: (f, math.copysign(1, f)))]
json.dump({
    "floats": [["%016x" % b, json.dumps(struct.unpack("<d", struct.pack("<Q", b))[0])] for b in bits],
    "strings": [[s.encode().hex(), json.dumps(s)] for s in strings],
}, sys.stdout, indent=0)
print()
