package measure

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// pageSpan is how long BenchmarkPages measures.
const pageSpan = 30 * time.Second

// BenchmarkPages measures the processor time that open status pages cost usher while
// 20 requests a second keep everything on them moving. %-of-a-core includes the
// requests: the cost of the pages is the difference between a run with pages and the
// run without.
//
//	go test -run '^$' -bench BenchmarkPages -benchtime 1x ./test/measure
func BenchmarkPages(b *testing.B) {
	for _, pages := range []int{0, 1, 10} {
		b.Run(strconv.Itoa(pages), func(b *testing.B) {
			s := rig.NewSigner(b)
			m := rig.NewModel(b, nil)
			u := rig.Start(b, rig.Settings(m, s)).Ready()
			var readers sync.WaitGroup
			for range pages {
				resp, err := http.Get("http://" + u.Admin + "/events")
				require.NoError(b, err)
				defer func() { _ = resp.Body.Close() }()
				readers.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
			}
			used := cpu(b, u.Cmd.Process.Pid)
			for range b.N {
				ticker := time.NewTicker(50 * time.Millisecond)
				for end := time.Now().Add(pageSpan); time.Now().Before(end); <-ticker.C {
					require.Equal(b, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
				}
				ticker.Stop()
			}
			used = cpu(b, u.Cmd.Process.Pid) - used
			b.ReportMetric(100*used.Seconds()/b.Elapsed().Seconds(), "%-of-a-core")
			u.Kill()
			readers.Wait()
		})
	}
}
