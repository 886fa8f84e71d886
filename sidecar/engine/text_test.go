package engine

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config/preset"
)

func TestParse(t *testing.T) {
	none := math.NaN()
	for name, tt := range map[string]struct {
		engine, text string
		want         Figures
	}{
		"vllm": {"vllm", `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.75
`, Figures{3, 1, 0.25}},
		"an older vllm": {"vllm", "vllm:num_requests_running 3\nvllm:num_requests_waiting 0\nvllm:gpu_cache_usage_perc 0.5", Figures{3, 0, 0.5}},
		"replicas add up, the fullest cache counts": {"vllm", `vllm:num_requests_running{engine="0"} 3
vllm:num_requests_running{engine="1"} 4
vllm:num_requests_waiting{engine="0"} 0
vllm:num_requests_waiting{engine="1"} 2
vllm:kv_cache_usage_perc{engine="0"} 0.1
vllm:kv_cache_usage_perc{engine="1"} 0.9
`, Figures{7, 2, 0.9}},
		"ranks of one replica are the same": {"sglang", `sglang:num_running_reqs{tp_rank="0"} 5.0
sglang:num_running_reqs{tp_rank="1"} 5.0
sglang:num_queue_reqs{tp_rank="0"} 2.0
sglang:num_queue_reqs{tp_rank="1"} 2.0
sglang:token_usage{tp_rank="0"} 0.28
`, Figures{5, 2, 0.28}},
		"tgi":       {"tgi", "tgi_batch_current_size 12\ntgi_queue_size 7 1700000000000\n", Figures{12, 7, none}},
		"llama.cpp": {"llamacpp", "llamacpp:requests_processing 4\nllamacpp:requests_deferred 46\n", Figures{4, 46, none}},
		"quotes and braces in a label": {"vllm", `vllm:num_requests_running{model_name="a\"} 9 {\\",engine="0"} 3
vllm:num_requests_waiting{ model_name = "x" , engine="0",} 1e1
`, Figures{3, 10, none}},
		"what is no figure is passed over": {"tgi", "tgi_batch_current_size NaN\ntgi_batch_current_size 1\ntgi_batch_current_size -3\ntgi_batch_current_size 1e300\ntgi_batch_current_size{a=\"b 7\ntgi_batch_current_size\ntgi_batch_current_size 1 2 3\ntgi_queue_size +Inf\ntgi_queue_size 0\n", Figures{1, 0, none}},
		"a share above 1 is none":          {"vllm", "vllm:num_requests_running 3\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 25\n", Figures{3, 1, none}},
		"a line without an end":            {"tgi", strings.Repeat("x", 3*maxLine) + " tgi_queue_size 9\ntgi_batch_current_size 1\ntgi_queue_size 0", Figures{1, 0, none}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(strings.NewReader(tt.text), preset.Of(tt.engine).Figures)
			require.NoError(t, err)
			require.Equal(t, tt.want.Running, got.Running)
			require.Equal(t, tt.want.Waiting, got.Waiting)
			if math.IsNaN(tt.want.Cache) {
				require.True(t, math.IsNaN(got.Cache))
			} else {
				require.Equal(t, tt.want.Cache, got.Cache)
			}
		})
	}
}

func TestParseWithoutFigures(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "another's": "sglang:num_running_reqs 1\nsglang:num_queue_reqs 2\n", "half": "tgi_queue_size 2\n",
		"a page": "<html>tgi_queue_size 1\ntgi_batch_current_size", "beyond the bound": strings.Repeat("# much\n", maxText/7+1) + "tgi_queue_size 2\ntgi_batch_current_size 1\n",
	} {
		_, err := parse(strings.NewReader(text), preset.Of("tgi").Figures)
		require.ErrorIs(t, err, errNoFigures, name)
	}
}

// Whatever a server reports, the figures are within bounds, and do not depend on the
// lines around them.
func FuzzParse(f *testing.F) {
	f.Add("vllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.5\n")
	f.Add("vllm:num_requests_running{a=\"\\\"\"} 1e9\nvllm:num_requests_waiting{} 0x1p4 7\n")
	f.Fuzz(func(t *testing.T, text string) {
		names := preset.Of("vllm").Figures
		got, err := parse(strings.NewReader(text), names)
		if err != nil {
			require.Equal(t, Figures{}, got)
			return
		}
		require.GreaterOrEqual(t, got.Running, 0)
		require.LessOrEqual(t, got.Running, maxFigure)
		require.GreaterOrEqual(t, got.Waiting, 0)
		require.LessOrEqual(t, got.Waiting, maxFigure)
		require.False(t, got.Cache < 0 || got.Cache > 1)
		again, err := parse(strings.NewReader("# HELP other x\nother{engine=\"0\"} 5\n"+text), names)
		require.NoError(t, err)
		require.Equal(t, got.Running, again.Running)
		require.Equal(t, got.Waiting, again.Waiting)
	})
}
