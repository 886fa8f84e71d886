package rig

// Streaming returns the settings of an usher that forwards bodies as they arrive.
func Streaming(s *Signer, url string) Env {
	return Env{
		"USHER_ENDPOINT": Endpoint, "USHER_WORKER_URL": URL, "USHER_PUBLIC_KEY": s.Public(), "USHER_UPSTREAM_URL": url,
		"USHER_ROUTES": "/upload/*",
	}
}

// UploadHead is the head of a request that carries its ticket in the head.
func UploadHead(t Ticket, framing string) string {
	return "POST /upload/x HTTP/1.1\r\nHost: a\r\nAuthorization: SignedRoute " + t.Token() + "\r\n" + framing + "\r\n\r\n"
}
