package envelope

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/usher-sidecar/usher/crypto"
)

// maxIntegerDigits is the longest integer that Python parses by default
// (sys.get_int_max_str_digits), and so the longest that an autoscaler can sign.
const maxIntegerDigits = 4300

// A decoder turns the members of a ticket into values and collects every fault.
type decoder struct {
	body   []byte
	opt    Options
	faults []string
	err    error // the JSON itself is invalid
}

func (d *decoder) fault(member int, what string) {
	d.faults = append(d.faults, ticketNames[member]+" "+what)
}

// ticket decodes all members. The result does not alias the body.
func (d *decoder) ticket(m *ticketMembers) Ticket {
	for member, v := range m {
		d.whole(member, v)
	}
	var t Ticket
	t.Cost = d.cost(m[memberCost])
	t.Endpoint = d.text(memberEndpoint, m[memberEndpoint])
	t.Reqnum = d.reqnum(m[memberReqnum])
	t.RequestIdx = d.requestIdx(m[memberRequestIdx])
	t.Signature = d.signature(m[memberSignature])
	t.URL = d.text(memberURL, m[memberURL])
	return t
}

func (d *decoder) raw(v value) []byte { return d.body[v.from:v.to] }

func (d *decoder) cost(v value) crypto.Cost {
	if !v.present() {
		d.fault(memberCost, "is missing")
		return crypto.Cost{}
	}
	c, err := crypto.ParseCost(d.raw(v))
	if err != nil {
		d.fault(memberCost, "is not a finite number of at least 0")
	}
	return c
}

func (d *decoder) reqnum(v value) int64 {
	if !v.present() || v.kind == 'n' && d.opt.ReqnumOptional {
		if !d.opt.ReqnumOptional {
			d.fault(memberReqnum, "is missing")
		}
		return -1
	}
	n, err := strconv.ParseInt(string(d.raw(v)), 10, 64)
	if err != nil || v.kind != '0' || d.raw(v)[0] == '-' {
		d.fault(memberReqnum, "is not an integer from 0 to 9223372036854775807")
		return -1
	}
	return n
}

func (d *decoder) requestIdx(v value) string {
	if !v.present() || v.kind == 'n' {
		return ""
	}
	raw := d.raw(v)
	if v.kind != '0' || bytes.ContainsAny(raw, ".eE") || string(raw) == "-0" || len(raw) > maxIntegerDigits {
		d.fault(memberRequestIdx, "is not an integer")
		return ""
	}
	return string(raw)
}

// whole rejects a string with a lone surrogate in any member of the ticket: such a
// string has no UTF-8 encoding, so it cannot have been signed.
func (d *decoder) whole(member int, v value) {
	if v.kind != '"' || d.err != nil || bytes.IndexByte(d.raw(v), '\\') < 0 {
		return
	}
	if _, err := jsontext.AppendUnquote(nil, d.raw(v)); err != nil {
		d.err = invalid("a lone surrogate in "+ticketNames[member], v.from)
	}
}

// text decodes a string that passed whole, into memory of its own.
func (d *decoder) text(member int, v value) string { return string(d.unquoted(member, v)) }

// unquoted is like text, but its result may alias the body.
func (d *decoder) unquoted(member int, v value) []byte {
	switch {
	case !v.present():
		d.fault(member, "is missing")
		return nil
	case v.kind != '"':
		d.fault(member, "is not a string")
		return nil
	}
	raw := d.raw(v)
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	text, _ := jsontext.AppendUnquote(nil, raw) // the only possible fault was found by whole
	return text
}

// signature decodes standard base64: padded, canonical, no line breaks. Anything
// else yields nil, which no key verifies.
func (d *decoder) signature(v value) []byte {
	text := d.unquoted(memberSignature, v)
	if len(text) == 0 || bytes.ContainsAny(text, "\r\n") {
		return nil
	}
	signature, err := canonicalBase64.AppendDecode(nil, text)
	if err != nil {
		return nil
	}
	return signature
}

var canonicalBase64 = base64.StdEncoding.Strict()
