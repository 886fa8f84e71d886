package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/config/route"
)

func TestRoutes(t *testing.T) {
	c := load(t, "USHER_ROUTES=/generate, GET /v1/files/*,POST /v1/models, DELETE /v1/files/*", "USHER_OPEN_ROUTES=/v1/models, HEAD /x")
	require.Equal(t, []string{"/generate", "GET /v1/files/*", "/v1/models", "DELETE /v1/files/*"}, route.Names(c.Routes))
	require.Equal(t, []string{"/v1/models", "HEAD /x"}, route.Names(c.OpenRoutes))
	require.Equal(t, 8, c.OpenConcurrency)
	require.Empty(t, load(t, "USHER_ENGINE=vllm", "USHER_ROUTES=GET /v1/models").OpenRoutes, "a setting of one's own wins")
	for _, none := range []string{"none", "None", ","} {
		require.Empty(t, load(t, "USHER_ENGINE=vllm", "USHER_OPEN_ROUTES="+none).OpenRoutes, "an engine's own are turned off")
	}
	require.Len(t, load(t, "USHER_ENGINE=vllm", "USHER_OPEN_ROUTES=").OpenRoutes, 1, "empty is not set")
	require.Equal(t, 3, load(t, "USHER_OPEN_CONCURRENCY=3").OpenConcurrency)

	for setting, want := range map[string]string{
		"USHER_ROUTES=generate":                            `USHER_ROUTES: "generate" is not a plain path like /generate`,
		"USHER_ROUTES=/v1*":                                `USHER_ROUTES: "/v1*" has a star that is not its whole last segment, as in /v1/*`,
		"USHER_ROUTES=TRACE /a":                            `USHER_ROUTES: "TRACE /a" has a method that is not one of GET, HEAD, POST, PUT, PATCH, DELETE`,
		"USHER_ROUTES=/a,POST /a":                          `USHER_ROUTES: "POST /a" is listed twice`,
		"USHER_OPEN_ROUTES=POST /a":                        `USHER_OPEN_ROUTES: "POST /a" has a method other than GET and HEAD, which an open route cannot have`,
		"USHER_OPEN_CONCURRENCY=0":                         `USHER_OPEN_CONCURRENCY: "0" is not a whole number from 1 to 65536`,
		"USHER_OPEN_ROUTES=none,/a":                        `USHER_OPEN_ROUTES: "none" is not a plain path like /generate`,
		"USHER_OPEN_ROUTES=/a,/a":                          `USHER_OPEN_ROUTES: "/a" is listed twice`,
		"USHER_ROUTES=GET /a/*|USHER_OPEN_ROUTES=/a/b":     `USHER_OPEN_ROUTES: "/a/b" overlaps "GET /a/*" of USHER_ROUTES, which needs a ticket`,
		"USHER_ROUTES=HEAD /a|USHER_OPEN_ROUTES=/*":        `USHER_OPEN_ROUTES: "/*" overlaps "HEAD /a" of USHER_ROUTES, which needs a ticket`,
		"USHER_ROUTES=GET /a|USHER_OPEN_ROUTES=GET $ROUTE": `USHER_OPEN_ROUTES: "$ROUTE" holds "$": a variable seems not to have been expanded`,
	} {
		_, err := Load(append(base(publicKey(t)), strings.Split(setting, "|")...))
		require.ErrorContains(t, err, want, setting)
	}
	require.Equal(t, []string{"Usher answers this itself, and the model server never sees it: GET /health, /ping"},
		load(t, "USHER_ROUTES=GET /health,/health", "USHER_OPEN_ROUTES=/ping").Warnings)
	warned := load(t, "USHER_COST_POLICY=enforce", "USHER_ROUTES=/generate,/v1/*,GET /v1/completions").Warnings
	require.Len(t, warned, 1)
	require.Contains(t, warned[0], "/v1/*, GET /v1/completions")
	require.NotContains(t, warned[0], "/generate")
}
