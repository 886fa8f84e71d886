package test

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pageSpan is how long BenchmarkPages watches.
const pageSpan = 30 * time.Second

// BenchmarkPages measures what open status pages cost usher's processor while 20
// requests a second keep everything on them moving. The difference of a run with
// pages and the one without is their price; %-of-a-core is of all.
//
//	go test -run '^$' -bench BenchmarkPages -benchtime 1x ./test
func BenchmarkPages(b *testing.B) {
	for _, pages := range []int{0, 1, 10} {
		b.Run(strconv.Itoa(pages), func(b *testing.B) {
			s := newSigner(b)
			m := newModel(b, nil)
			u := start(b, settings(m, s)).ready()
			var readers sync.WaitGroup
			for range pages {
				resp, err := http.Get("http://" + u.admin + "/events")
				require.NoError(b, err)
				defer func() { _ = resp.Body.Close() }()
				readers.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
			}
			used := cpu(b, u.cmd.Process.Pid)
			for range b.N {
				ticker := time.NewTicker(50 * time.Millisecond)
				for end := time.Now().Add(pageSpan); time.Now().Before(end); <-ticker.C {
					require.Equal(b, 200, u.post("/generate", s.ticket().flat("")).status)
				}
				ticker.Stop()
			}
			used = cpu(b, u.cmd.Process.Pid) - used
			b.ReportMetric(100*used.Seconds()/b.Elapsed().Seconds(), "%-of-a-core")
			u.kill()
			readers.Wait()
		})
	}
}
