package rig

// Figures are the metrics of each engine that has any, as formats for running, waiting
// and cache.
var Figures = map[string]string{
	"vllm":     "# HELP x\nvllm:num_requests_running{engine=\"0\",model_name=\"m\"} %d\nvllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} %d\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n",
	"sglang":   "sglang:num_running_reqs{tp_rank=\"0\"} %d\nsglang:num_queue_reqs{tp_rank=\"0\"} %d\nsglang:token_usage{tp_rank=\"0\"} 0.25\n",
	"tgi":      "tgi_batch_current_size %d\ntgi_queue_size %d\n",
	"llamacpp": "llamacpp:requests_processing %d\nllamacpp:requests_deferred %d\n",
}
