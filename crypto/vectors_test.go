package crypto

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A vector is a signed example, made with Python's json and OpenSSL.
type vector struct {
	Name         string
	SignedFields []string `json:"signed_fields"`
	Message      string
	Signature    string
	BodyRaw      string `json:"body_raw"`
	Valid        bool
}

// readVectors reads the examples, and the key that they were signed with.
func readVectors(t testing.TB) (*Key, []vector) {
	t.Helper()
	raw, err := os.ReadFile("testdata/signed-route.json")
	require.NoError(t, err)
	var file struct {
		PublicKey string `json:"public_key_pem"`
		Vectors   []vector
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Vectors)
	key, err := parseOne(file.PublicKey)
	require.NoError(t, err)
	return key, file.Vectors
}

// ticket takes an example's body apart.
func (v *vector) ticket(t testing.TB) (m *Message, signature []byte) {
	t.Helper()
	var body struct {
		Cost       json.RawMessage
		Endpoint   string
		Reqnum     int64
		URL        string
		RequestIdx json.RawMessage `json:"request_idx"`
	}
	require.NoError(t, json.Unmarshal([]byte(v.BodyRaw), &body))
	cost, err := ParseCost(body.Cost)
	require.NoError(t, err)
	signature, _ = base64.StdEncoding.Strict().DecodeString(v.Signature)
	return &Message{Cost: cost, Endpoint: body.Endpoint, Reqnum: body.Reqnum, URL: body.URL, RequestIdx: string(body.RequestIdx)}, signature
}

func TestVectors(t *testing.T) {
	key, vectors := readVectors(t)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			m, signature := v.ticket(t)
			text := "auto"
			if len(v.SignedFields) == 1 {
				text = v.SignedFields[0]
			}
			schema, err := ParseSchema(text)
			require.NoError(t, err)
			set := NewKeySet(schema, time.Minute)
			set.Install([]*Key{key}, time.Unix(0, 0))
			proof, err := set.Verify(m, signature, time.Unix(0, 0))
			if !v.Valid {
				require.ErrorIs(t, err, ErrBadSignature)
				return
			}
			require.NoError(t, err)
			require.Len(t, proof.Fields, len(v.SignedFields))
			found := set.Explain(m, signature, time.Unix(0, 0))
			require.Len(t, found, 1)
			require.Equal(t, "indent=4", found[0].Layout)
		})
	}
}
