package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// describe prints where everything is, and commands that can be pasted into a shell.
func (w *world) describe(out io.Writer) {
	scaler := w.autoscaler.URL()
	fmt.Fprintf(out, "autoscaler     %s   (POST /route/, GET /pubkey/; workers report to it)\n", scaler)
	for i, k := range w.workers {
		fmt.Fprintf(out, `worker %d
  usher        %s   (what clients call)
  status page  http://%s/   (also /readyz, /metrics)
  model server %s
`, i+1, k.url, k.usher.AdminAddr(), k.model.URL())
	}
	fmt.Fprintf(out, `
Try it with curl:

  %s

or with Python:

  %s

`, strings.Join(curlLines(scaler), "\n  "), pythonLine(scaler))
}

// curlLines ask for a ticket and stream an answer from the worker that it names.
func curlLines(scaler string) []string {
	return []string{
		fmt.Sprintf(`TICKET=$(curl -s %s/route/ -d '{"endpoint":"%s","api_key":"%s","cost":24}')`, scaler, endpoint, apiKey),
		`URL=$(printf %s "$TICKET" | sed 's/.*"url": "\([^"]*\)".*/\1/')`,
		`curl -sN $URL/generate_stream -H "Content-Type: application/json" -d '{"auth_data":'"$TICKET"',"payload":{"inputs":"once upon a time","parameters":{"max_new_tokens":24}}}'`,
	}
}

// pythonLine is a shell command that needs nothing but Python itself.
func pythonLine(scaler string) string {
	return `python3 -c '` + strings.Join([]string{
		`import json, urllib.request as u`,
		`call = lambda url, body: json.load(u.urlopen(u.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})))`,
		fmt.Sprintf(`t = call("%s/route/", {"endpoint": "%s", "api_key": "%s", "cost": 24})`, scaler, endpoint, apiKey),
		`print(call(t["url"] + "/generate", dict(t, inputs="once upon a time", parameters={"max_new_tokens": 24})))`,
	}, "; ") + `'`
}

// watch prints a line every second until done: on a terminal it overwrites the last
// one.
func (w *world) watch(t *tally, done <-chan struct{}, out io.Writer, quiet bool) {
	if quiet {
		<-done
		return
	}
	before, after := "", "\n"
	if terminal(out) {
		before, after = "\r\x1b[K", ""
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			fmt.Fprint(out, before)
			return
		case <-tick.C:
			fmt.Fprintf(out, "%s%s; %s%s", before, t.line(), w.state(), after)
		}
	}
}

// state returns what is going on at the workers, in a few words.
func (w *world) state() string {
	inFlight, ignored := 0, 0
	for _, k := range w.workers {
		n, _ := k.model.InFlight()
		inFlight += n
		ignored += k.model.Ignored()
	}
	s := fmt.Sprintf("%d in flight", inFlight)
	away := w.outages.away()
	if away == theAutoscaler {
		s += "; the autoscaler is away"
	}
	for i, k := range w.workers {
		if k.url == away {
			s += fmt.Sprintf("; outage at worker %d", i+1)
		}
	}
	if ignored > 0 {
		s += fmt.Sprintf("; %d hang-ups ignored, %d orphans found", ignored, w.orphans())
	}
	return s
}

// orphans returns how many orphans the Ushers report.
func (w *world) orphans() (n int) {
	client := http.Client{Timeout: time.Second}
	for _, k := range w.workers {
		resp, err := client.Get(fmt.Sprintf("http://%s/status.json", k.usher.AdminAddr()))
		if err != nil {
			continue
		}
		var status struct{ Engine struct{ Orphans int } }
		if json.NewDecoder(resp.Body).Decode(&status) == nil {
			n += status.Engine.Orphans
		}
		_ = resp.Body.Close()
	}
	return n
}

// terminal reports whether out is a character device.
func terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
