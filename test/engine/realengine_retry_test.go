package engine

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// An SDK that is told there is no room retries after a while with the same ticket,
// which is its API key and still good, and is answered.
func TestRealEngineHasRoomAgain(t *testing.T) {
	t.Parallel()
	full.Only(t)
	rig.NeedFile(t, "../testdata/sdks/node_modules", "npm ci --prefix test/testdata/sdks")
	for name, sdk := range sdks {
		if sdk.asks > 1 { // it tries again
			t.Run(name, func(t *testing.T) { play(t, func(t testing.TB) { comeBack(t, name) }) })
		}
	}
}

func comeBack(t testing.TB, name string) {
	engine := newRealEngine(t)
	key, err := autoscaler.NewRSAKey()
	require.NoError(t, err)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_ENGINE": "llamacpp",
		"USHER_UPSTREAM_URL": engine.url, "USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_CAPACITY": "1",
		"USHER_QUEUE_TIMEOUT": rig.Patience.String(), // an SDK takes a while to start
	}).Ready()
	router, err := autoscaler.Start(autoscaler.Options{Endpoint: rig.Endpoint, Workers: []string{"http://" + u.Public}, Key: key})
	require.NoError(t, err)
	t.Cleanup(router.Close)

	for range 10 { // a worker that gives places back says to come back soon
		ask(t.Context(), "http://"+u.Public, router.Ticket(0, 1).Nested(`{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1}`))
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go ask(ctx, "http://"+u.Public, router.Ticket(0, 8000).Nested(endless))
	u.WaitMetric("usher_in_flight", 1)
	go ask(ctx, "http://"+u.Public, router.Ticket(0, 8000).Nested(endless))
	u.WaitMetric("usher_waiting", 1)
	go func() { // make room once it was refused
		for ctx.Err() == nil {
			if strings.Contains(strings.Join(u.Log(), ""), `"outcome":"queue_full"`) {
				leave()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	cmd := exec.CommandContext(driving(t), rig.Need(t, "node", "nodejs"), "../testdata/sdks/drive.mjs", name, "head", "whole")
	cmd.Env = rig.Env{"AUTOSCALER": router.URL(), "API_KEY": "toy-key"}.List()
	whole := drive(t, cmd, nil)["whole"]
	require.Nil(t, whole.Error)
	require.Len(t, strings.Fields(whole.Text), 12)

	refused := reqnum.FindString(u.WaitLine(`"outcome":"queue_full"`))
	require.NotEmpty(t, refused)
	u.WaitRecord("the same ticket answered", func(line string) bool {
		return strings.Contains(line, `"outcome":"ok"`) && reqnum.FindString(line) == refused
	})
}

var reqnum = regexp.MustCompile(`"reqnum":\d+,`)
