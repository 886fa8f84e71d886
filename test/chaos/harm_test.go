package chaos

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// harms are ways to damage the state file of a running Usher.
var harms = []func(path string) error{
	func(path string) error { return os.Truncate(path, 0) },
	func(path string) error { return os.Truncate(path, 5000) },
	os.Remove,
	func(path string) error { return os.Rename(path, path+".away") },
	func(path string) error {
		return errors.Join(os.WriteFile(path+".other", []byte("another"), 0o600), os.Rename(path+".other", path))
	},
}

// harmState damages the state file. It is no storm: Usher goes on serving as before.
// Once it has noticed, it has written the file anew, and a kill forgets nothing.
func harmState(w *world, r *rand.Rand) error {
	before, err := w.usher.metrics()
	if err != nil {
		return err
	}
	if err := harms[r.IntN(len(harms))](w.usher.state); err != nil {
		return err
	}
	const faults = "usher_state_file_faults_total"
	if err := within(30*time.Second, "the harm to the state file is noticed", func() bool {
		now, err := w.usher.metrics()
		return err == nil && now[faults] > before[faults]
	}); err != nil {
		return err
	}
	if r.IntN(2) == 0 {
		return nil
	}
	return w.restart(syscall.SIGKILL)
}

// fewDescriptors restarts Usher with hardly any descriptors and connects more silent
// clients than it has. An honest client must be served all the same, operators be
// answered, and the model server stay healthy. All the while kept connections may be
// closed to make room for others.
func fewDescriptors(w *world, _ *rand.Rand) error {
	defer w.weather.storm()()
	files := w.usher.files
	w.usher.files = 64
	if err := w.restart(terminate); err != nil {
		return err
	}
	if err := w.silentCrowd(80); err != nil {
		return err
	}
	w.usher.files = files
	return w.restart(terminate)
}

// silentCrowd connects this many clients that send nothing.
func (w *world) silentCrowd(clients int) error {
	defer w.weather.storm()()
	for range clients {
		c, err := net.DialTimeout("tcp", w.usher.public, time.Second)
		if err != nil {
			break
		}
		defer func() { _ = c.Close() }()
	}
	if err := w.recovers("silent clients have taken all connections"); err != nil {
		return err
	}
	return w.usher.isReady()
}

// isReady reports what /readyz says now.
func (u *usher) isReady() error {
	resp, err := admin.Get("http://" + u.admin + "/readyz")
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("usher is not ready in a crowd of silent clients: " + resp.Status)
	}
	return nil
}
