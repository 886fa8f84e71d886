package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/http1"
)

// explain adds to an error what helps the client and what the package that returned
// it could not know. spent says whether the request spent its ticket.
func (r *request) explain(err error, spent bool) error {
	switch {
	case errors.Is(err, errRouteUnknown):
		return &explained{err, r.h.routes.names}
	case errors.Is(err, errMethod):
		return &explained{err, "use " + r.h.routes.Allowed(r.conn.Head.Path)}
	case errors.Is(err, front.ErrBodyTooLarge) && r.open():
		return &explained{err, "this route accepts none"}
	case errors.Is(err, front.ErrBodyTooLarge):
		return ofBody(err, fmt.Sprintf("at most %d bytes", r.bodyLimit()), spent)
	case errors.Is(err, front.ErrBodyTimeout):
		return ofBody(err, "send it again", spent)
	case errors.Is(err, front.ErrBodyFraming):
		return ofBody(err, "send it with a Content-Length", spent)
	case errors.Is(err, errCut) && spent:
		return errCutSent
	case errors.Is(err, envelope.ErrInvalidJSON) && !errors.Is(err, envelope.ErrInvalidHeader):
		form := formOf(r.conn.Head.Value(front.ContentType), r.body.Bytes())
		switch {
		case form == "":
		case r.ticket.found:
			return &explained{err, "it is " + form + "; on this route the model's members must be one JSON object"}
		default:
			return &explained{err, "it is " + form + "; send the ticket and the model's members as one JSON object, or the ticket in the head"}
		}
	}
	return err
}

// ofBody adds what to do about a faulty body. If a part of it has been passed on, the
// ticket is spent and a retry needs a new one.
func ofBody(err error, words string, spent bool) error {
	if spent {
		words += ", with a new ticket: the ticket is spent, since the model server got a part of the body"
	}
	return &explained{err, words}
}

// formOf says which kind of form a body is (multipart, RFC 7578, or
// application/x-www-form-urlencoded), or "" if it is none. curl labels every body as
// the latter, even malformed JSON.
func formOf(contentType, body []byte) string {
	body = bytes.TrimLeft(body, " \t\r\n")
	switch {
	case http1.HasPrefixFold(contentType, "multipart/") || bytes.HasPrefix(body, []byte("--")):
		return "a multipart form"
	case http1.HasPrefixFold(contentType, "application/x-www-form-urlencoded") && len(body) > 0 && body[0] != '{':
		return "a form"
	}
	return ""
}

// maxServedNames is how many routes an error message lists.
const maxServedNames = 8

// servedNames lists the routes for a client that asked for another path.
func servedNames(routes []string) string {
	if len(routes) > maxServedNames {
		routes = append(routes[:maxServedNames:maxServedNames], "…")
	}
	return strings.Join(routes, ", ")
}
