package dialect

import (
	"bytes"
	"unicode/utf8"
)

// A Member is a member of a request's body that states work. The zero value, Body,
// stands for the body itself.
type Member uint8

// The members of all APIs.
const (
	Body Member = iota

	MaxTokens
	MaxCompletionTokens
	MaxOutputTokens
	NPredict
	N
	BestOf
	NCompletions

	Parameters             // an object, TGI's
	ParametersMaxNewTokens // of parameters
	ParametersBestOf       // of parameters

	SamplingParams       // an object, SGLang's
	SamplingMaxNewTokens // of sampling_params
	SamplingN            // of sampling_params

	Options           // an object, Ollama's
	OptionsNumPredict // of options

	Prompt   // one prompt, or several in an array
	Text     // the same
	InputIDs // the same

	MemberCount // how many there are, Body included
)

// A Kind says what is read of a member.
type Kind uint8

// The kinds.
const (
	Number  Kind = iota
	Object       // its members
	Prompts      // how many prompts there are
)

// members has each member's name, the object it is in and what is read of it.
var members = [MemberCount]struct {
	name string
	in   Member
	kind Kind
}{
	MaxTokens:              {name: "max_tokens"},
	MaxCompletionTokens:    {name: "max_completion_tokens"},
	MaxOutputTokens:        {name: "max_output_tokens"},
	NPredict:               {name: "n_predict"},
	N:                      {name: "n"},
	BestOf:                 {name: "best_of"},
	NCompletions:           {name: "n_cmpl"},
	Parameters:             {name: "parameters", kind: Object},
	ParametersMaxNewTokens: {name: "max_new_tokens", in: Parameters},
	ParametersBestOf:       {name: "best_of", in: Parameters},
	SamplingParams:         {name: "sampling_params", kind: Object},
	SamplingMaxNewTokens:   {name: "max_new_tokens", in: SamplingParams},
	SamplingN:              {name: "n", in: SamplingParams},
	Options:                {name: "options", kind: Object},
	OptionsNumPredict:      {name: "num_predict", in: Options},
	Prompt:                 {name: "prompt", kind: Prompts},
	Text:                   {name: "text", kind: Prompts},
	InputIDs:               {name: "input_ids", kind: Prompts},
}

// String returns the name, preceded by the name of its object.
func (m Member) String() string {
	if in := m.In(); in != Body {
		return in.Name() + "." + m.Name()
	}
	return m.Name()
}

// Name returns the name without that of its object.
func (m Member) Name() string { return members[m].name }

// In returns the object that the member is in: Body, or one whose Kind is Object.
func (m Member) In() Member { return members[m].in }

// Kind returns what is read of the member.
func (m Member) Kind() Kind { return members[m].kind }

// Find looks a name up among the members of an object, or of the body. It returns
// Body for an unknown name.
func Find(in Member, name []byte) Member {
	if len(name) >= len(byLength) {
		return Body
	}
	for _, m := range byLength[len(name)] {
		if members[m].in == in && string(name) == members[m].name {
			return m
		}
	}
	return Body
}

// FindFolded looks up a member of the body whose name differs in case. Go's
// encoding/json, and therefore Ollama, accepts such names; other engines do not. Most
// names are lower-case ASCII and need no lookup.
func FindFolded(name []byte) Member {
	for _, c := range name {
		if c >= utf8.RuneSelf || c-'A' <= 'Z'-'A' {
			return findFolded(name)
		}
	}
	return Body
}

func findFolded(name []byte) Member {
	for m := Body + 1; m < MemberCount; m++ {
		if members[m].in == Body && bytes.EqualFold(name, []byte(members[m].name)) {
			return m
		}
	}
	return Body
}

// byLength groups the members by the length of their names, which rules out most names
// in a body.
var byLength = func() (list [32][]Member) {
	for m := Body + 1; m < MemberCount; m++ {
		n := len(m.Name())
		list[n] = append(list[n], m)
	}
	return list
}()
