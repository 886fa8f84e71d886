package status

import "github.com/usher-sidecar/usher/sidecar/account"

// A note says why an outcome happens and what an operator does about it.
type note struct {
	Reason string // what happened, in a few words that follow "because"
	Advice string // in a sentence or two
}

// notes has one for every outcome.
var notes = [account.Outcomes]note{
	account.OK: {"all is well", ""},
	account.RouteUnknown: {"the path is no route",
		"Scanners call all sorts of paths and need no answer. If a client of yours is among them, add its path to USHER_ROUTES."},
	account.MethodNotAllowed: {"the method is not POST",
		"The client must use POST. A browser's OPTIONS means that USHER_CORS_ORIGINS is not set."},
	account.UnsupportedEncoding: {"the body is compressed",
		"The client must send its body without Content-Encoding."},
	account.BodyTooLarge: {"the body is too large",
		"Raise USHER_MAX_BODY_BYTES if prompts of that size are wanted."},
	account.BadRequest: {"they are not acceptable HTTP",
		"Scanners and broken clients. If many come from one client, look at its HTTP library or at the proxy between."},
	account.InvalidJSON: {"the body is no acceptable JSON",
		"The client builds its body wrongly; usher verify reads a body and says where."},
	account.InvalidTicket: {"the ticket is not complete",
		"The client must pass on the autoscaler's whole answer; usher verify names what is missing."},
	account.EndpointMismatch: {"the ticket is for another endpoint",
		"Compare USHER_ENDPOINT with the autoscaler's name for this group."},
	account.URLMismatch: {"the ticket is for another worker",
		"If every request is refused so, USHER_WORKER_URL is not what the autoscaler calls this worker. Else clients call the wrong one."},
	account.ReqnumReplayed: {"the ticket was used already",
		"Clients retry with a used ticket, or somebody replays: they must ask for a new route. Usher needs nothing."},
	account.ReqnumStale: {"the ticket is too old",
		"If all are, the autoscaler started its numbers again: restart with a new state file, or set USHER_REQNUM_RESET_AFTER. Else clients sit on tickets."},
	account.BadSignature: {"the signature does not fit",
		"If all are, this is not the autoscaler's key, or it signs other fields (usher verify tells which). If few, somebody changes tickets."},
	account.CostExceeded: {"they ask for more than their tickets' cost",
		"Clients understate their cost. Nothing to do, unless honest ones are hit: then USHER_COST_POLICY=observe."},
	account.QueueFull: {"the queue is full",
		"More comes than the model server takes: add workers, or raise USHER_QUEUE_CAPACITY if waiting longer is better than being refused."},
	account.QueueTimeout: {"they waited too long for a slot",
		"More comes than the model server takes: add workers, or raise USHER_MAX_CONCURRENCY if the GPU has room."},
	account.Draining: {"this worker is leaving",
		"Expected while it drains. If it goes on, the autoscaler still routes here."},
	account.Loading: {"this worker is still loading",
		"Expected until the model server answers and the benchmark is done. Clients should not be routed here before; if it goes on, see what is missing above."},
	account.KeyUnavailable: {"there is no public key yet",
		"Usher cannot read the autoscaler's key: see the key's last error below."},
	account.Internal: {"Usher hit a fault of its own",
		"A bug: please report the stack that is in the log beside this request id."},
	account.UpstreamUnreachable: {"the model server cannot be reached",
		"Is it running, and at USHER_UPSTREAM_URL? The tickets stay good."},
	account.UpstreamBroken: {"the model server broke off",
		"It died or closed in the middle of an answer: look at its log, often it ran out of memory."},
	account.UpstreamTimeout: {"the model server did not answer in time",
		"It hangs or is overloaded: look at it; lower USHER_MAX_CONCURRENCY if it takes more than it can do."},
	account.UpstreamRefused: {"the model server refused them",
		"A 4xx of its own that was passed on as it came: a wrong model name, too long a prompt, an origin or a key that it does not take. Its body told the client which."},
	account.UpstreamError: {"the model server answered with an error of its own",
		"A 5xx that was passed on as it came: look at the model server's log."},
	account.ClientGone: {"the client left",
		"Clients hang up or time out. If many do, compare their time-outs with the waits above."},
	account.ClientStalled: {"the client stopped reading",
		"It took nothing for USHER_WRITE_TIMEOUT and was cut, so that its slot is free."},
	account.Cut: {"the drain's time was up",
		"USHER_DRAIN_TIMEOUT is shorter than the longest answers."},
}
