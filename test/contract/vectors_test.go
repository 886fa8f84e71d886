package contract

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// Examples signed with Python's json and OpenSSL: each goes through the binary as a
// request of its own, flat and nested.
func TestVectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/signed-route.json")
	require.NoError(t, err)
	var file struct {
		PublicKey string `json:"public_key_pem"`
		Vectors   []struct {
			Name         string
			SignedFields []string `json:"signed_fields"`
			BodyRaw      string   `json:"body_raw"`
			Valid        bool
		}
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Vectors)

	var served atomic.Int64
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			served.Add(1)
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer model.Close()

	for i, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			var ticket struct{ Endpoint string }
			require.NoError(t, json.Unmarshal([]byte(v.BodyRaw), &ticket))
			settings := rig.Env{
				"USHER_PUBLIC_KEY":   file.PublicKey,
				"USHER_ENDPOINT":     strings.ReplaceAll(ticket.Endpoint, ",", `\,`),
				"USHER_WORKER_URL":   "any",
				"USHER_UPSTREAM_URL": model.URL,
			}
			status, code := 401, "bad_signature"
			if v.Valid {
				status, code = 200, ""
			}
			// A setting is trimmed and never empty, so it cannot name these two
			// endpoints.
			if strings.TrimSpace(ticket.Endpoint) != ticket.Endpoint || ticket.Endpoint == "" {
				settings["USHER_ENDPOINT"] = "another"
				status, code = 403, "endpoint_mismatch"
			}
			if len(v.SignedFields) == 1 {
				settings["USHER_SIGNED_FIELDS"] = v.SignedFields[0]
			}
			nested := `{"auth_data":` + v.BodyRaw + `,"payload":{"inputs":"hi"}}`
			for form, body := range map[string]string{"flat": v.BodyRaw, "nested": nested} {
				if !full.Run() && (form == "flat") != (i%2 == 0) {
					continue // each is a process
				}
				u := rig.Start(t, settings)
				before := served.Load()
				got := u.Post("/generate", []byte(body))
				require.Equal(t, status, got.Status, "%s: %s", form, got.Body)
				if code != "" {
					require.Equal(t, code, got.Code(), form)
					require.Equal(t, before, served.Load(), "a refused request reached the model server")
				}
				u.Kill()
			}
		})
	}
}
