package socket

// The system calls of this package are for non-blocking sockets, made within the
// callbacks of a syscall.RawConn.
//
// The Go runtime prepares for a system call to take long: it may hand the processor
// to other goroutines, and wakes its monitor thread if everything was idle. A call
// on a non-blocking socket takes only microseconds. Between the tokens of streams
// everything is mostly idle, and the monitor, woken by the next token's read, then
// polled 4,000 times a second: a tenth of the CPU of a stream. So on Linux these
// calls bypass the scheduler if they move little, and are ordinary ones if they may
// move much.

// short is how many bytes a call that bypasses the scheduler may move, a few
// microseconds' worth.
const short = 64 << 10
