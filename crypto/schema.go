package crypto

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrSchema is wrapped by the errors of ParseSchema.
var ErrSchema = errors.New("not a list of signed fields")

// A Schema says which fields are signed: a list of alternatives, one of which has to
// verify. The zero value accepts nothing; make it with ParseSchema.
type Schema struct {
	alternatives [][]Field
	text         string
}

// autoAlternative stands for autoFields.
const autoAlternative = "auto"

// autoFields is what autoscalers have signed over the years.
const autoFields = "cost,endpoint,reqnum,url|cost,endpoint,reqnum,request_idx,url|cost,endpoint,reqnum,url,request_idx"

// ParseSchema reads alternatives separated by "|", each a comma list of fields
// in the order of the message; "auto" stands for the alternatives that autoscalers are
// known to sign and that cover the whole ticket. Spaces are ignored. Error: ErrSchema.
func ParseSchema(text string) (Schema, error) {
	s := Schema{text: text}
	var alternatives []string
	for alternative := range strings.SplitSeq(text, "|") {
		if strings.TrimSpace(alternative) == autoAlternative {
			alternatives = append(alternatives, strings.Split(autoFields, "|")...)
		} else {
			alternatives = append(alternatives, alternative)
		}
	}
	for _, alternative := range alternatives {
		var fields []Field
		for name := range strings.SplitSeq(alternative, ",") {
			i := slices.Index(fieldNames[:], strings.TrimSpace(name))
			if i < 0 {
				return Schema{}, fmt.Errorf("%w: %q is neither auto nor one of %s", ErrSchema, strings.TrimSpace(name), strings.Join(fieldNames[:], ", "))
			}
			if slices.Contains(fields, Field(i)) {
				return Schema{}, fmt.Errorf("%w: %s is listed twice in one alternative", ErrSchema, Field(i))
			}
			fields = append(fields, Field(i))
		}
		s.alternatives = append(s.alternatives, fields)
	}
	return s, nil
}

// String returns the text that the schema was read from.
func (s Schema) String() string { return s.text }

// Alternatives returns the alternatives in order.
func (s Schema) Alternatives() [][]Field { return s.alternatives }

// AlwaysSigns reports whether every alternative signs f.
func (s Schema) AlwaysSigns(f Field) bool {
	for _, fields := range s.alternatives {
		if !slices.Contains(fields, f) {
			return false
		}
	}
	return len(s.alternatives) > 0
}

// FieldList returns fields as a comma-separated list, as in the setting.
func FieldList(fields []Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.String()
	}
	return strings.Join(names, ",")
}
