package front

import (
	"net/http"
	"sync/atomic"
	"time"
)

// A dateLine is the Date field of the answers of one second.
type dateLine struct {
	second int64
	line   string
}

var lastDate atomic.Pointer[dateLine]

// appendDate appends the Date field, which an answer of our own must have (RFC 9110
// section 6.6.1). Relayed ones have the model server's, or none.
func appendDate(dst []byte, now time.Time) []byte {
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateLine{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		lastDate.Store(d)
	}
	return append(dst, d.line...)
}
