package crypto

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSchema(t *testing.T) {
	auto, err := ParseSchema("auto")
	require.NoError(t, err)
	require.Len(t, auto.Alternatives(), 3)
	for _, f := range []Field{FieldCost, FieldEndpoint, FieldReqnum, FieldURL} {
		require.True(t, auto.AlwaysSigns(f), f)
	}
	require.False(t, auto.AlwaysSigns(FieldRequestIdx))

	s, err := ParseSchema(" url | reqnum , url ")
	require.NoError(t, err)
	require.Equal(t, [][]Field{{FieldURL}, {FieldReqnum, FieldURL}}, s.Alternatives())
	require.False(t, s.AlwaysSigns(FieldReqnum))
	require.True(t, s.AlwaysSigns(FieldURL))
	require.Equal(t, "reqnum,url", FieldList(s.Alternatives()[1]))

	s, err = ParseSchema("auto | url")
	require.NoError(t, err)
	require.Equal(t, append(auto.Alternatives(), []Field{FieldURL}), s.Alternatives())
	require.Equal(t, "auto | url", s.String())

	for _, wrong := range []string{"auto,url", "auto|", "", "|", "url|", "url,,cost", "url,url", "signature", "AUTO", "url;cost"} {
		_, err := ParseSchema(wrong)
		require.ErrorIs(t, err, ErrSchema, wrong)
	}
	require.False(t, Schema{}.AlwaysSigns(FieldURL))
}

func FuzzParseSchema(f *testing.F) {
	f.Add("auto")
	f.Add("url|cost,endpoint,reqnum,url")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchema(text)
		if err != nil {
			require.ErrorIs(t, err, ErrSchema)
			return
		}
		for _, fields := range s.Alternatives() {
			require.NotEmpty(t, fields)
			again, err := ParseSchema(FieldList(fields))
			require.NoError(t, err)
			require.Equal(t, fields, again.Alternatives()[0])
		}
	})
}
