package sidecar

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// verdictHeader carries a refusal from headReceived to the handler. It cannot
// come off the wire: NUL is no token character.
const verdictHeader = "\x00verdict"

// Verdicts that the handler cannot find again once the head was changed.
const (
	verdictTooLarge = "413"
	verdictFraming  = "framing"
)

// headReceived is called by fasthttp between the head and the body. It makes
// every request one without a body for fasthttp, since the handler reads that
// from the connection. A request that its head alone condemns must be answered
// before "100 Continue" is sent: it becomes one that does not expect that; the
// handler answers it and closes the connection.
func (s *Sidecar) headReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	switch {
	case checkFraming(h) != nil:
		h.Set(verdictHeader, verdictFraming)
	case s.checkHead(h) != nil:
		if h.ContentLength() > s.cfg.MaxBodyBytes {
			h.Set(verdictHeader, verdictTooLarge)
		}
	default:
		if !endsKnown(h) {
			h.SetConnectionClose()
		}
		h.SetContentLength(0)
		return fasthttp.RequestConfig{}
	}
	if !endsKnown(h) || h.ContentLength() > 0 || h.ContentLength() == -1 || len(h.Peek(fasthttp.HeaderExpect)) > 0 {
		h.SetConnectionClose()
	}
	h.SetContentLength(0)
	h.Del(fasthttp.HeaderExpect)
	return fasthttp.RequestConfig{}
}

// endsKnown tells whether client and server will agree on where an acceptable
// request ends. fasthttp leaves the body of GET and HEAD in the connection, to be
// read as the next request; and a POST without a length has no body by RFC 9112
// section 6.3, but its client may well think that it has.
func endsKnown(h *fasthttp.RequestHeader) bool {
	if h.IsGet() || h.IsHead() {
		return h.ContentLength() == 0 || h.ContentLength() == -2
	}
	return h.ContentLength() != -2 || !h.IsPost()
}

// verdict repeats for the handler what headReceived found.
func (s *Sidecar) verdict(h *fasthttp.RequestHeader) error {
	marked := string(h.Peek(verdictHeader))
	if marked == verdictFraming {
		if fault := checkFraming(h); fault != nil {
			return fault
		}
	}
	if err := s.checkHead(h); err != nil {
		return err
	}
	if marked == verdictTooLarge {
		return errBodyTooLarge
	}
	return nil
}

// checkHead makes the checks that need no body: 404, 405, 503 twice, 415, 413.
func (s *Sidecar) checkHead(h *fasthttp.RequestHeader) error {
	if isAside(h) || s.cors.isPreflight(h) {
		return nil
	}
	path, _ := splitTarget(h.RequestURI())
	if _, ok := s.routes[string(path)]; !ok {
		return errRouteUnknown
	}
	if !h.IsPost() {
		return errMethod
	}
	if s.drain.refusing() {
		return errDraining
	}
	if s.reports.loading() {
		return errLoading
	}
	for _, coding := range h.PeekAll(fasthttp.HeaderContentEncoding) {
		if coding = bytes.TrimSpace(coding); len(coding) > 0 && !http1.EqualFold(coding, "identity") {
			return errEncoding
		}
	}
	if h.ContentLength() > s.cfg.MaxBodyBytes {
		return errBodyTooLarge
	}
	return nil
}

// splitTarget cuts a request target into path and query. The absolute form
// (RFC 9112 section 3.2.2) is reduced to its path: which host it names changes
// nothing, the request goes to the one model server there is.
func splitTarget(target []byte) (path, query []byte) {
	if len(target) > 0 && target[0] != '/' {
		if i := bytes.Index(target, []byte("://")); i > 0 {
			rest := target[i+3:]
			if slash := bytes.IndexByte(rest, '/'); slash >= 0 {
				target = rest[slash:]
			}
		}
	}
	path, query, _ = bytes.Cut(target, []byte("?"))
	return path, query
}
