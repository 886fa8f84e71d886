package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTallyReport(t *testing.T) {
	replayed := mischief[2]
	wrong := errors.New("expected 409 reqnum_replayed, got 200")
	tests := []struct {
		name     string
		outcomes []outcome
		some     bool
		fault    string // "" for none
	}{
		{"nothing sent, nothing asked", nil, false, ""},
		{"nothing sent", nil, true, "no request was answered"},
		{"all well", []outcome{{kind: good}, {kind: replayed}}, true, ""},
		{"sent elsewhere", []outcome{{kind: good, again: 3}}, true, ""},
		{"a good one wrong", []outcome{{kind: good}, {kind: good, err: wrong}}, true, "1 of 2"},
		{"a bad one wrong", []outcome{{kind: good}, {kind: replayed, err: wrong}}, true, "1 of 2"},
		{"wrong without a duration", []outcome{{kind: good, err: wrong}}, false, "1 of 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var table tally
			for _, o := range test.outcomes {
				table.add(o)
			}
			var out bytes.Buffer
			err := table.report(&out, test.some)
			if test.fault == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.fault)
			}
			for _, o := range test.outcomes {
				require.Contains(t, out.String(), o.kind.expect)
				if o.err != nil {
					require.Contains(t, out.String(), o.err.Error())
				}
			}
		})
	}
}

func TestRefusedAndWhole(t *testing.T) {
	flat := []byte(`{"error":"No.","error_type":"bad_signature"}`)
	openAI := []byte(`{"error":{"message":"No.","code":"bad_signature"}}`)
	refusals := []struct {
		answer answer
		right  bool
	}{
		{answer{status: 401, code: "bad_signature", body: flat}, true},
		{answer{status: 401, code: "bad_signature", body: openAI}, true},
		{answer{status: 403, code: "bad_signature", body: flat}, false},
		{answer{status: 401, code: "reqnum_stale", body: flat}, false},
		{answer{status: 401, code: "bad_signature", body: []byte("{}")}, false},
		{answer{status: 401, code: "bad_signature", body: flat, err: io.ErrUnexpectedEOF}, false},
		{answer{status: 200}, false},
		{answer{}, false},
	}
	for _, test := range refusals {
		require.Equal(t, test.right, test.answer.refused(401, "bad_signature") == nil, "%+v", test.answer)
	}
	whole := []struct {
		answer answer
		right  bool
	}{
		{answer{style: styles[0], status: 200, body: []byte(`{"generated_text":"x"}`)}, true},
		{answer{style: styles[0], status: 200, body: []byte(`{"generated_te`)}, false},
		{answer{style: styles[0], status: 502, body: []byte(`{}`)}, false},
		{answer{style: styles[0], status: 200, body: []byte(`{}`), err: io.ErrUnexpectedEOF}, false},
		{answer{style: styles[1], status: 200, body: []byte("data:{\"generated_text\":\"x\"}\n\n")}, true},
		{answer{style: styles[1], status: 200, body: []byte("data:{\"generated_text\":null}\n\n")}, false},
		{answer{style: styles[2], status: 200, body: []byte("data: {}\n\ndata: [DONE]\n\n")}, true},
		{answer{style: styles[2], status: 200, body: []byte("data: {}\n\n")}, false},
	}
	for _, test := range whole {
		require.Equal(t, test.right, test.answer.whole() == nil, "%+v", test.answer)
	}
}

func TestOutageExcuses(t *testing.T) {
	var o outages
	before := time.Now()
	require.False(t, o.excuse("a", answer{code: "upstream_broken", sent: before, ended: before}), "there was none")
	o.begin("a")
	require.Equal(t, "a", o.away())
	during := time.Now()
	o.end()
	require.Empty(t, o.away())
	after := time.Now().Add(time.Nanosecond)
	tests := []struct {
		name   string
		url    string
		answer answer
		right  bool
	}{
		{"within", "a", answer{status: 502, code: "upstream_unreachable", sent: during, ended: during}, true},
		{"across", "a", answer{status: 502, code: "upstream_broken", sent: before, ended: after}, true},
		{"before", "a", answer{status: 502, code: "upstream_broken", sent: before.Add(-1), ended: before.Add(-1)}, false},
		{"after", "a", answer{status: 502, code: "upstream_broken", sent: after, ended: after}, false},
		{"another worker", "b", answer{status: 502, code: "upstream_broken", sent: during, ended: during}, false},
		{"another worker's queue", "b", answer{status: 429, code: "queue_full", sent: during, ended: during}, true},
		{"broken off", "a", answer{status: 200, err: io.ErrUnexpectedEOF, sent: during, ended: during}, true},
		{"no answer at all", "a", answer{err: io.ErrUnexpectedEOF, sent: during, ended: during}, false},
		{"a code that no outage gives", "a", answer{status: 401, code: "bad_signature", sent: during, ended: during}, false},
	}
	for _, test := range tests {
		require.Equal(t, test.right, o.excuse(test.url, test.answer), test.name)
	}
}

func TestParse(t *testing.T) {
	var out bytes.Buffer
	o, err := parse([]string{"-workers", "3", "-delay", "wan", "-loss", "2%", "-bad", "0.1", "-outage", "30s", "-seed", "7"}, &out)
	require.NoError(t, err)
	require.Empty(t, out.String())
	require.Equal(t, 5.0, o.rps)
	require.InDelta(t, 0.02, float64(o.loss), 1e-12)
	require.InDelta(t, 0.1, float64(o.bad), 1e-12)
	require.GreaterOrEqual(t, o.delay.draw(rand.New(rand.NewPCG(1, 1))), 20*time.Millisecond)

	_, err = parse([]string{"-h"}, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, name := range []string{"-workers", "-delay", "-loss", "-bad", "-outage", "-seed", "-for", "-rps", "-quiet"} {
		require.Contains(t, out.String(), "\n  "+name)
	}
	for _, args := range [][]string{
		{"surplus"}, {"-rps", "-1"}, {"-rps", "NaN"}, {"-workers", "0"}, {"-tokens", "0"}, {"-loss", "101%"}, {"-bad", "many"},
		{"-bad", "NaN"}, {"-loss", "60%", "-bad", "60%"}, {"-outage", "1s"}, {"-outage", "-3s"}, {"-delay", "far"},
		{"-delay", "-1s"}, {"-for", "-1s"}, {"-no-such"},
	} {
		out.Reset()
		_, err := parse(args, &out)
		require.Error(t, err, "%q", args)
		require.NotEmpty(t, out.String(), "%q", args)
	}
}

// The same seed plans the same traffic.
func TestSeed(t *testing.T) {
	plans := func(seed uint64) (all []plan) {
		var o options
		require.NoError(t, o.delay.Set("tail"))
		o.loss, o.bad = 0.1, 0.5
		c := &client{options: o}
		random := rand.New(rand.NewPCG(seed, 2))
		for n := range 200 {
			p := c.draw(random, n)
			require.LessOrEqual(t, p.delay, 10*time.Millisecond+longest)
			all = append(all, p)
		}
		return all
	}
	require.Equal(t, plans(1), plans(1))
	require.NotEqual(t, plans(1), plans(2))
}
