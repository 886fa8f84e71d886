package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

const terminate = syscall.SIGTERM

// An event is something done to the world. It returns an error if the world did not
// respond as it must.
type event func(w *world, r *rand.Rand) error

var events = map[string]event{
	"kill usher":      func(w *world, _ *rand.Rand) error { return w.restart(syscall.SIGKILL) },
	"stop usher":      func(w *world, _ *rand.Rand) error { return w.restart(terminate) },
	"kill model":      killModel,
	"flaky model":     flakyModel,
	"rotate key":      rotateKey,
	"lying keys":      lyingKeys,
	"hang up":         func(w *world, _ *rand.Rand) error { return w.usher.cmd.Process.Signal(syscall.SIGHUP) },
	"siege":           siege,
	"new certificate": newCertificate,
	"crowd":           crowd,
	"slow readers":    slow,
	"harm state":      harmState,
	"few descriptors": fewDescriptors,
	"deaf log":        deafLog,
}

// restart ends Usher with a signal and starts it again. No ticket that the model
// server saw before may pass afterwards: the latest are tried.
func (w *world) restart(s syscall.Signal) error {
	defer w.weather.storm()()
	status, err := w.usher.end(s)
	if err != nil {
		return err
	}
	if s == terminate && status != 0 && status != 1 {
		return fmt.Errorf("usher ended a drain with status %d", status)
	}
	spent := w.ledger.spent(40)
	if err := w.usher.start(); err != nil {
		return err
	}
	var trying sync.WaitGroup
	defer trying.Wait()
	for some := range slices.Chunk(spent, 10) {
		trying.Go(func() {
			for _, t := range some {
				if o := w.send(t); o.err == nil && o.refusal == "" {
					w.fail("after a kill no spent ticket passes: %s did", t.name())
				}
			}
		})
	}
	return nil
}

func killModel(w *world, r *rand.Rand) error {
	defer w.weather.storm()()
	w.model.kill(r.IntN(2) == 0)
	time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond) // connections are refused in the meantime
	if err := w.model.start(); err != nil {
		return err
	}
	return w.recovers("the model server is back")
}

// recovers waits until an honest request is served.
func (w *world) recovers(after string) error {
	return eventually("a request is served once "+after, func() bool {
		o := w.send(w.issue())
		return o.err == nil && o.status == 200
	})
}

func flakyModel(w *world, r *rand.Rand) error {
	defer w.weather.storm()()
	w.model.flaky.Store(true)
	time.Sleep(time.Duration(50+r.IntN(200)) * time.Millisecond)
	w.model.flaky.Store(false)
	return w.recovers("the model server accepts again")
}

func rotateKey(w *world, r *rand.Rand) error {
	defer w.weather.storm()()
	if err := w.keys.rotate(r.IntN(8) == 0); err != nil {
		return err
	}
	if err := w.usher.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return w.recovers("the key is another")
}

// lyingKeys makes the key server fail for a while. It is no storm: the last good key
// stays in force.
func lyingKeys(w *world, r *rand.Rand) error {
	w.keys.tell(lies[r.IntN(len(lies))])
	defer w.keys.tell("")
	asked := w.keys.asked.Load()
	return eventually("the lie is heard", func() bool {
		_ = w.usher.cmd.Process.Signal(syscall.SIGHUP)
		return w.keys.asked.Load() > asked+2
	})
}

// A besieger is a client that waits in a siege.
type besieger struct {
	ticket ticket
	lane   *lane
}

// besiege sends as many requests as slots and queue hold in addition to the clients',
// and waits until all slots are taken and the rest wait.
func besiege(w *world) (all []besieger, full bool) {
	for range slots + capacity - clients {
		b := besieger{w.issue(), &lane{w: w}}
		if b.lane.open() != nil {
			continue
		}
		p := outsider(outsiders + int(w.aside.Add(1)))
		b.lane.write(p.ask(id{b.ticket.key, b.ticket.Reqnum, p.index, 0}, b.ticket))
		all = append(all, b)
	}
	return all, within(shortest, "slots are taken and others wait", func() bool {
		m, err := w.usher.metrics()
		return err == nil && m["usher_in_flight"] == slots && m["usher_waiting"] >= float64(len(all))
	}) == nil
}

// siege makes the model server hold its answers, lets the queue grow, and makes half
// of the waiting clients leave. Their requests were never sent, so their tickets must
// be good afterwards.
func siege(w *world, r *rand.Rand) error {
	open := w.model.shut()
	var staying sync.WaitGroup
	defer staying.Wait()
	defer open()
	began := time.Now()
	all, full := besiege(w)
	before, gone := w.ledger.count(), w.usher.gone()
	var left []ticket
	for n, b := range all {
		// A client with a slot would let another request in by leaving.
		if n%2 == 0 && !w.ledger.saw(b.ticket) {
			b.lane.drop([]string{"close", "reset"}[r.IntN(2)])
			left = append(left, b.ticket)
			continue
		}
		staying.Go(func() { defer b.lane.drop("close"); b.lane.last(b.ticket) })
	}
	if !full || len(left) == 0 || time.Since(began) > 2*shortest {
		w.count("siege: no verdict") // on a busy machine time-outs come first
		return nil
	}
	if err := eventually("those who left while waiting are noticed", func() bool {
		return w.usher.gone() >= gone+float64(len(left))
	}); err != nil {
		return err
	}
	if w.ledger.count() != before {
		w.count("siege: no verdict")
		return nil
	}
	open()
	staying.Wait()
	w.count("siege")
	for _, t := range left {
		if o := w.send(t); o.refusal == "reqnum_replayed" {
			w.fail("a ticket whose client left while waiting is usable again: %s is not", t.name())
		}
	}
	return nil
}

// last reads the answer of a client that stayed through a siege. It may be any answer.
func (l *lane) last(t ticket) {
	_ = l.conn.SetDeadline(time.Now().Add(patience))
	one := make([]byte, 1)
	if _, err := l.conn.Read(one); err != nil {
		if network, ok := err.(net.Error); ok && network.Timeout() {
			l.w.fail("every request gets an answer or a visible cut: %s got neither in a siege", t.name())
		}
	}
}

func newCertificate(w *world, _ *rand.Rand) error {
	number, err := w.certificates.swap()
	if err != nil {
		return err
	}
	if err := w.usher.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return eventually("the new certificate is served", func() bool {
		l := &lane{w: w}
		defer l.drop("close")
		if l.open() != nil {
			return false
		}
		c := tlsOf(l)
		return c.Handshake() == nil && c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() == number
	})
}

// crowd opens more connections than Usher has descriptors, and closes them.
func crowd(w *world, _ *rand.Rand) error {
	defer w.weather.storm()()
	var crowd []net.Conn
	for range w.usher.files + 100 {
		c, err := net.DialTimeout("tcp", w.usher.public, time.Second)
		if err != nil {
			break
		}
		crowd = append(crowd, c)
	}
	time.Sleep(300 * time.Millisecond) // others try to connect in the meantime
	for _, c := range crowd {
		_ = c.Close()
	}
	return w.recovers("the crowd is gone")
}
