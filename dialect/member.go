package dialect

// A Member is a member of a request's body that says how much work is asked
// for. The zero value, Body, stands for the body itself.
type Member uint8

// The members of all APIs.
const (
	Body Member = iota

	MaxTokens
	MaxCompletionTokens
	N
	BestOf

	Parameters             // an object
	ParametersMaxNewTokens // of parameters
	ParametersBestOf       // of parameters

	MemberCount // how many there are, Body included
)

// members says for each what it is called and in which object it stands.
var members = [MemberCount]struct {
	name string
	in   Member
}{
	MaxTokens:              {name: "max_tokens"},
	MaxCompletionTokens:    {name: "max_completion_tokens"},
	N:                      {name: "n"},
	BestOf:                 {name: "best_of"},
	Parameters:             {name: "parameters"},
	ParametersMaxNewTokens: {"max_new_tokens", Parameters},
	ParametersBestOf:       {"best_of", Parameters},
}

// String is the name, with its object's before it.
func (m Member) String() string {
	if in := m.In(); in != Body {
		return in.Name() + "." + m.Name()
	}
	return m.Name()
}

// Name is the name without its object's.
func (m Member) Name() string { return members[m].name }

// In is the object that the member stands in: Body, or a member that IsObject.
func (m Member) In() Member { return members[m].in }

// IsObject reports whether other members stand in this one.
func (m Member) IsObject() bool { return isObject[m] }

var isObject = func() (is [MemberCount]bool) {
	for m := Body + 1; m < MemberCount; m++ {
		is[m.In()] = true
	}
	return is
}()

// Find looks a name up among the members of an object, or of the body. It
// returns Body for a name that means nothing here.
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

// byLength has the members by the length of their names, which tells most names
// of a body from all of them.
var byLength = func() (list [32][]Member) {
	for m := Body + 1; m < MemberCount; m++ {
		n := len(m.Name())
		list[n] = append(list[n], m)
	}
	return list
}()
