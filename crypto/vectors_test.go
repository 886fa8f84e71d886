package crypto

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Signed examples made with Python's json and OpenSSL.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/signed-route.json")
	require.NoError(t, err)
	var file struct {
		PublicKey string `json:"public_key_pem"`
		Vectors   []struct {
			Name         string
			SignedFields []string `json:"signed_fields"`
			Message      string
			Signature    string
			BodyRaw      string `json:"body_raw"`
			Valid        bool
		}
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Vectors)
	key, err := ParsePublicKey([]byte(file.PublicKey))
	require.NoError(t, err)
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
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
			m := &Message{Cost: cost, Endpoint: body.Endpoint, Reqnum: body.Reqnum, URL: body.URL, RequestIdx: string(body.RequestIdx)}
			text := "auto"
			if len(v.SignedFields) == 1 {
				text = v.SignedFields[0]
			}
			schema, err := ParseSchema(text)
			require.NoError(t, err)
			set := NewKeySet(schema, time.Minute)
			set.Install(key, time.Unix(0, 0))
			signature, _ := base64.StdEncoding.Strict().DecodeString(v.Signature)
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
