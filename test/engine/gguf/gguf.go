// Package gguf writes a small, meaningless language model: the llama architecture with
// seeded random weights and an invented vocabulary, in llama.cpp's file format (GGUF
// 3). An engine does with it all that it does with a real model, in a millionth of the
// time.
package gguf

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
)

// The shape of the model. Each byte of a prompt is a token; each generated token is a
// word.
const (
	Context = 1 << 20 // tokens that the model says it was trained for
	Words   = 512     // tokens that it can make

	width, heads, hidden = 64, 4, 128 // of a layer; a head is 16 wide
	seed                 = 20
)

// Write writes a model with so many layers, always the same bytes. The time per token
// grows with layers, which must be at least 1.
func Write(w io.Writer, layers int) error {
	if layers < 1 {
		return fmt.Errorf("a model of %d layers", layers)
	}
	out := &encoder{w: bufio.NewWriter(w)}
	tensors := shape(layers)
	metadata := describe(layers)
	out.raw([]byte("GGUF"))
	out.value(uint32(3))
	out.value(uint64(len(tensors)))
	out.value(uint64(len(metadata)))
	for _, m := range metadata {
		out.string(m.key)
		out.typed(m.value)
	}
	offset := uint64(0)
	for _, t := range tensors {
		out.string(t.name)
		out.value(uint32(len(t.dims)))
		for _, d := range t.dims {
			out.value(uint64(d))
		}
		out.value(uint32(0)) // 32-bit floats
		out.value(offset)
		offset += uint64(aligned(4 * t.size()))
	}
	out.pad()
	random := rand.New(rand.NewPCG(seed, uint64(layers)))
	for _, t := range tensors {
		for i := range t.size() {
			out.value(t.weight(random, i))
		}
		out.pad()
	}
	if out.err == nil {
		out.err = out.w.Flush()
	}
	return out.err
}

// A pair is one entry of the model's metadata.
type pair struct {
	key   string
	value any // string, uint32, float32, bool, or a slice of the first three
}

func describe(layers int) []pair {
	tokens, kinds := vocabulary()
	return []pair{
		{"general.architecture", "llama"},
		{"general.name", "random"},
		{"llama.context_length", uint32(Context)},
		{"llama.embedding_length", uint32(width)},
		{"llama.block_count", uint32(layers)},
		{"llama.feed_forward_length", uint32(hidden)},
		{"llama.attention.head_count", uint32(heads)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"tokenizer.ggml.model", "llama"},
		{"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.scores", make([]float32, len(tokens))},
		{"tokenizer.ggml.token_type", kinds},
		{"tokenizer.ggml.unknown_token_id", uint32(0)},
		{"tokenizer.ggml.bos_token_id", uint32(1)},
		{"tokenizer.ggml.eos_token_id", uint32(2)},
		{"tokenizer.ggml.add_space_prefix", false},
		{"tokenizer.chat_template", "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}assistant:"},
	}
}

// silent is how many tokens precede the words: special tokens and one for each byte.
// They are read but never generated.
const silent = 3 + 256

func vocabulary() (tokens []string, kinds []int32) {
	const normal, unknown, control, single = 1, 2, 3, 6
	tokens, kinds = []string{"<unk>", "<s>", "</s>"}, []int32{unknown, control, control}
	for b := range 256 {
		tokens, kinds = append(tokens, fmt.Sprintf("<0x%02X>", b)), append(kinds, single)
	}
	const onsets, vowels = "bdfghjklmnprstvz", "aeio"
	for i := range Words { // of two syllables, the second of eight
		first, second := i/8, i%8
		word := []byte{onsets[first/4], vowels[first%4], onsets[2*second], vowels[second%4]}
		tokens, kinds = append(tokens, "▁"+string(word)), append(kinds, normal)
	}
	return tokens, kinds
}

// A tensor is a matrix or vector; dims are in GGUF's order, the fastest first.
type tensor struct {
	name string
	dims []int
	kind kind
}

type kind int

const (
	matrix kind = iota
	scale       // of a norm: all ones
	output      // what makes a token: none of the silent ones
)

func shape(layers int) []tensor {
	vocabulary := silent + Words
	list := []tensor{
		{"token_embd.weight", []int{width, vocabulary}, matrix},
		{"output_norm.weight", []int{width}, scale},
		{"output.weight", []int{width, vocabulary}, output},
	}
	for i := range layers {
		block := fmt.Sprintf("blk.%d.", i)
		list = append(list,
			tensor{block + "attn_norm.weight", []int{width}, scale},
			tensor{block + "attn_q.weight", []int{width, width}, matrix},
			tensor{block + "attn_k.weight", []int{width, width}, matrix},
			tensor{block + "attn_v.weight", []int{width, width}, matrix},
			tensor{block + "attn_output.weight", []int{width, width}, matrix},
			tensor{block + "ffn_norm.weight", []int{width}, scale},
			tensor{block + "ffn_gate.weight", []int{width, hidden}, matrix},
			tensor{block + "ffn_up.weight", []int{width, hidden}, matrix},
			tensor{block + "ffn_down.weight", []int{hidden, width}, matrix},
		)
	}
	return list
}

func (t tensor) size() int {
	n := 1
	for _, d := range t.dims {
		n *= d
	}
	return n
}

// weight returns the next number of a tensor. The output of the last norm has the
// length √width, so the logits of words have a standard deviation of 4 around 0, where
// those of all silent tokens are: far below the best words.
func (t tensor) weight(random *rand.Rand, i int) float32 {
	switch {
	case t.kind == scale:
		return 1
	case t.kind == output && i/width < silent:
		return 0
	case t.kind == output:
		return float32(random.NormFloat64() * 4 / math.Sqrt(width))
	}
	return float32(random.NormFloat64() / math.Sqrt(float64(t.dims[0])))
}
