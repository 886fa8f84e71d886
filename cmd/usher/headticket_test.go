package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeadTicketIsFound(t *testing.T) {
	for input, want := range map[string]string{
		"Authorization: SignedRoute eyJ9\r\n": "eyJ9", "authorization:Bearer sr.eyJ9": "eyJ9", "AUTHORIZATION:  signedroute  eyJ9 ": "eyJ9",
		"SignedRoute eyJ9": "eyJ9", "Bearer sr.eyJ9\n": "eyJ9", "sr.eyJ9": "eyJ9", "eyJ9\n": "eyJ9", " eyJ9== ": "eyJ9==", "sr.!": "!",
		"Authorization: SignedRoute": "", "SignedRoute {}": "{}",
	} {
		token, ok := headTicket([]byte(input))
		require.True(t, ok, input)
		require.Equal(t, want, string(token), input)
	}
	for _, input := range []string{"", "{}", " {\"a\":1}", "null", "1", "true", "hello", "Authorization: Bearer customer", "[e]", "e y", "e:1"} {
		_, ok := headTicket([]byte(input))
		require.False(t, ok, input)
	}
}
