package network

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"
)

func sum(payload string) string {
	sum := sha256.Sum256([]byte(payload))
	return hex.EncodeToString(sum[:])
}

// answerTo is the whole answer.
func answerTo(kind, ticket string) string {
	switch kind {
	case "stream":
		return strings.Repeat("data: "+ticket+"\n\n", 20)
	case "large":
		return strings.Repeat(ticket+" ", large/(len(ticket)+1))
	}
	return `{"generated_text":"` + ticket + `"}`
}

// serve is the model server.
func (c *campaign) serve(w http.ResponseWriter, r *http.Request) {
	kind, ticket := r.Header.Get("X-Kind"), r.Header.Get("X-Ticket")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.fail("%s: %s was broken off: %v", ticket, kind, err)
		return
	}
	if sum(string(body)) != r.Header.Get("X-Sum") {
		c.fail("%s: %s was changed on its way", ticket, kind)
	}
	if kind != "stream" && kind != "hang-up" {
		_, _ = io.WriteString(w, answerTo(kind, ticket))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; kind == "hang-up" || n < 20; n++ {
		_, _ = io.WriteString(w, "data: "+ticket+"\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}
