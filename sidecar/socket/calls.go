package socket

// The system calls of this package are those of sockets that do not block, made
// within the callbacks of a syscall.RawConn.
//
// The Go runtime brackets a system call, since it may take long: it is ready to
// give the processor to others meanwhile, and wakes its monitor thread for that
// if all was idle before. A call on a socket that does not block is over in some
// microseconds. Between the tokens of streams all is idle mostly, and the
// monitor, woken by the next token's read, then looked around 4,000 times a
// second: a tenth of the CPU of a stream. So on Linux these calls go past the
// scheduler where they move little, and are the usual ones where they may move
// much.

// short is how many bytes a call may move that the scheduler is not told of, a
// few microseconds' worth.
const short = 64 << 10
