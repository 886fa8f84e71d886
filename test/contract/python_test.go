package contract

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// pythonTickets prints, one per line, what a real autoscaler of every kind would sign,
// and the request of a Python client that passes it on.
const pythonTickets = `
import json, random, struct, sys
r = random.Random(int(sys.argv[1]))
def cost():
    k = r.randrange(9)
    if k == 0: return r.randrange(1000)
    if k == 1: return float(r.randrange(1000))
    if k == 2: return r.random() * 10 ** r.randrange(-9, 9)
    if k == 3: return float(10 ** r.randrange(0, 25))
    if k == 4: return 10 ** r.randrange(0, 25)
    if k == 5: return r.choice([0, 0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 9007199254740993, 2 ** 63, 2 ** 64 + 1, 1e16, 1e15, 123456789.125, 1e-05, 0.0001])
    if k == 6: return r.randrange(2 ** 70)
    if k == 7: return float(r.randrange(2 ** 70))
    while True:
        f = struct.unpack("<d", struct.pack("<Q", r.getrandbits(63)))[0]
        if f == f and f != float("inf"): return f
def text():
    pick = [lambda: chr(r.randrange(0, 128)), lambda: chr(r.randrange(0x80, 0xd800)), lambda: chr(r.randrange(0xe000, 0x110000)), lambda: r.choice("\"\\/\b\f\n\r\t\x7f\u2028<>&'")]
    return "".join(r.choice(pick)() for _ in range(r.randrange(12)))
alternatives = [["cost","endpoint","reqnum","url"], ["cost","endpoint","reqnum","request_idx","url"], ["cost","endpoint","reqnum","url","request_idx"]]
for i in range(int(sys.argv[2])):
    fields = r.choice(alternatives)
    t = {"cost": cost(), "endpoint": sys.argv[3], "reqnum": i, "url": "http://" + text()}
    if "request_idx" in fields or r.randrange(3) == 0: t["request_idx"] = r.choice([0, i, -1, 2 ** 52])
    message = json.dumps({f: t[f] for f in fields}, indent=4)
    if fields == sorted(fields): assert message == json.dumps({f: t[f] for f in fields}, indent=4, sort_keys=True)
    t["signature"] = "SIGNATURE"
    ascii = r.random() < 0.5
    flat = dict(t, inputs=text())
    nested = {"auth_data": t, "payload": {"inputs": text()}}
    print(json.dumps({"message": message, "body": json.dumps(r.choice([flat, nested]), ensure_ascii=ascii), "exact": True}))
`

// jsRewrites passes each request through JSON.parse and JSON.stringify, as a
// JavaScript client would: 256.0 becomes 256. An integer that no float can represent
// becomes another number, and is marked.
const jsRewrites = `
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const t = JSON.parse(line)
  const integers = [...t.message.matchAll(/"(?:cost|request_idx)": (-?\d+)[,\n]/g)].map(m => m[1])
  t.exact = integers.every(i => BigInt(i) === BigInt(Number(i)))
  t.body = JSON.stringify(JSON.parse(t.body))
  console.log(JSON.stringify(t))
})
`

// Tickets signed by a real Python are accepted from a Python and from a JavaScript
// client: with random costs, characters of every plane, and every usual set of signed
// fields.
func TestTicketsOfRealPython(t *testing.T) {
	t.Parallel()
	python := rig.Need(t, "python3", "python3")
	node := rig.Need(t, "node", "nodejs")
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_WORKER_URL": "any", "USHER_REPLAY_WINDOW": "1000", "USHER_REORDER_HOLD": "0"}))
	v := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_WORKER_URL": "any", "USHER_REPLAY_WINDOW": "1000", "USHER_REORDER_HOLD": "0"}))
	tickets := full.Or(100, 400)
	lines, err := exec.Command(python, "-c", pythonTickets, "7", rig.Itoa(tickets), rig.Endpoint).Output()
	require.NoError(t, err)
	cmd := exec.Command(node, "-e", jsRewrites)
	cmd.Stdin = bytes.NewReader(lines)
	rewritten, err := cmd.Output()
	require.NoError(t, err)

	for client, send := range map[string]struct {
		to    *rig.Usher
		lines []byte
	}{"python": {u, lines}, "javascript": {v, rewritten}} {
		seen, inexact := 0, 0
		for in := bufio.NewScanner(bytes.NewReader(send.lines)); in.Scan(); seen++ {
			var ticket struct {
				Message, Body string
				Exact         bool
			}
			require.NoError(t, json.Unmarshal(in.Bytes(), &ticket))
			if !ticket.Exact {
				inexact++
				continue
			}
			body := strings.Replace(ticket.Body, "SIGNATURE", s.Sign(ticket.Message), 1)
			got := send.to.Post("/generate", []byte(body))
			require.Equal(t, 200, got.Status, "%s: %s\nsigned: %s\nsent: %s", client, got.Body, ticket.Message, body)
		}
		require.Equal(t, tickets, seen)
		require.Less(t, inexact, tickets*3/8)
	}
}
