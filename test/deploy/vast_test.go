package deploy

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// takenPorts are those that quietPort has returned or tried.
var takenPorts sync.Map

// quietPort finds a port that nothing listens on and no other test can get by chance
// before it is used: it is below those that the kernel hands out.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + mathrand.IntN(12000))
		if _, taken := takenPorts.LoadOrStore(port, true); taken {
			continue
		}
		free, err := net.Listen("tcp", ":"+port)
		if err == nil {
			require.NoError(t, free.Close())
			return port
		}
	}
	require.FailNow(t, "no free port")
	return ""
}

// startVast runs the start script as a rented machine does, and waits until it
// listens.
func startVast(t *testing.T, variables rig.Env) (public, dir string, stop func(os.Signal) int) {
	t.Helper()
	rig.Need(t, "bash", "bash")
	dir = t.TempDir()
	port := quietPort(t)
	cmd := exec.Command("bash", "../../deploy/vast/start_server.sh")
	cmd.Env = rig.Env{
		"BACKEND": "tgi", "WORKSPACE_DIR": dir, "CERT_DIR": dir, "USHER_BIN": rig.Binary, "WORKER_PORT": port,
		"PUBLIC_IPADDR": "203.0.113.7", "VAST_TCP_PORT_" + port: "41234", "CONTAINER_ID": "17",
		"USHER_REPORT":     "off", // the script has an address of the provider's own
		"USHER_ADMIN_ADDR": "127.0.0.1:0", "USHER_DRAIN_DELAY": "0s", "USHER_HEALTH_INTERVAL": "200ms",
	}.With(variables).List()
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended })
	said := make(chan string, 1)
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Public string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				said <- strings.Replace(line.Public, "[::]", "127.0.0.1", 1)
			}
		}
		_ = cmd.Wait()
	}()
	select {
	case public = <-said:
	case <-ended:
		log, _ := os.ReadFile(filepath.Join(dir, "usher.log"))
		require.FailNow(t, "it ended", "%s", log)
	case <-time.After(3 * rig.Patience): // it runs a dozen programs
		log, _ := os.ReadFile(filepath.Join(dir, "usher.log"))
		require.FailNow(t, "it does not listen", "%s", log)
	}
	return public, dir, func(s os.Signal) int {
		_ = cmd.Process.Signal(s)
		<-ended
		return cmd.ProcessState.ExitCode()
	}
}

// The start script puts Usher in the Python worker's place: it takes the same
// variables, and tickets for the address they describe.
func TestVastStartScript(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	model := httptest.NewServer(http.HandlerFunc(m.Serve)) // where such a worker has it
	defer model.Close()
	a := rig.NewScaler(t, nil)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/pubkey/" {
			_, _ = io.WriteString(w, s.Public())
			return
		}
		a.Serve(w, r)
	}))
	defer keys.Close()
	public, dir, stop := startVast(t, rig.Env{
		"REPORT_ADDR": keys.URL, "MASTER_TOKEN": rig.MasterToken, "USHER_REPORT": "", "USE_SSL": "false", "USHER_ENDPOINT": rig.Endpoint,
		"MODEL_SERVER_URL": strings.Replace(model.URL, "127.0.0.1", "0.0.0.0", 1), "MODEL_HEALTH_ENDPOINT": model.URL + "/health",
	})
	there := s.Signed(rig.Ticket{
		"cost": "256.0", "endpoint": rig.Quote(rig.Endpoint), "reqnum": "1", "url": rig.Quote("http://203.0.113.7:41234"),
	}, "cost", "endpoint", "reqnum", "url")
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + public + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, rig.Patience, 10*time.Millisecond)
	resp, err := http.Post("http://"+public+"/generate", "application/json", strings.NewReader(string(there.Flat(`"inputs":"a"`))))
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.FileExists(t, filepath.Join(dir, "usher.window"))
	loaded := a.WaitReport(t, "loaded, measured and served", func(r map[string]any) bool { return r["cur_perf"].(float64) > 0 })
	require.Equal(t, 17.0, loaded["id"])
	require.Equal(t, rig.MasterToken, loaded["mtoken"])
	require.Equal(t, "http://203.0.113.7:41234", loaded["url"])
	require.Positive(t, loaded["loadtime"])
	require.Positive(t, loaded["max_perf"])
	measured, err := os.ReadFile(filepath.Join(dir, ".has_benchmark"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(measured), "\n")
	figure, err := strconv.ParseFloat(first, 64)
	require.NoError(t, err, "the file's first line must be a number, as the Python worker expects")
	require.Equal(t, loaded["max_perf"], figure)
	require.Zero(t, stop(syscall.SIGTERM), "the start script must drain and exit 0 at SIGTERM")
	log, err := os.ReadFile(filepath.Join(dir, "usher.log"))
	require.NoError(t, err)
	require.NotContains(t, string(log), "is not a setting of Usher")
	require.NotContains(t, string(log), rig.MasterToken)
}

// A failed start is reported to the autoscaler in the Python script's words: to the
// first address that accepts it, and to none that may not see the token.
func TestVastReportsAFailedStart(t *testing.T) {
	t.Parallel()
	rig.Need(t, "curl", "curl")
	refusing := rig.NewScaler(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	for name, tt := range map[string]struct {
		variables rig.Env
		says      string // "": nothing is reported
	}{
		"unknown backend":  {rig.Env{"BACKEND": `a"b\`}, `BACKEND=a"b\ is not known: set it to openai, and USHER_ROUTES to its routes`},
		"no endpoint":      {rig.Env{}, "USHER_ENDPOINT: is required"},
		"a wrong setting":  {rig.Env{"USHER_ENDPOINT": rig.Endpoint, "USHER_QUEUE_TIMEOUT": "soon"}, "USHER_QUEUE_TIMEOUT"},
		"reports are off":  {rig.Env{"USHER_REPORT": "off"}, ""},
		"nobody in charge": {rig.Env{"CONTAINER_ID": ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, dir := rig.NewScaler(t, nil), t.TempDir()
			cmd := exec.Command("bash", "../../deploy/vast/start_server.sh")
			cmd.Env = rig.Env{
				"BACKEND": "tgi", "WORKSPACE_DIR": dir, "USHER_BIN": rig.Binary, "USE_SSL": "false",
				"REPORT_ADDR":  "http://192.0.2.1:9, " + refusing.URL + "," + a.URL,
				"CONTAINER_ID": "17", "MASTER_TOKEN": rig.MasterToken, "PUBLIC_IPADDR": "203.0.113.7", "VAST_TCP_PORT_3000": "41234",
			}.With(tt.variables).List()
			said, err := cmd.CombinedOutput()
			require.Error(t, err)
			require.Equal(t, 2, cmd.ProcessState.ExitCode())
			require.NotContains(t, string(said), rig.MasterToken)
			if tt.says == "" {
				require.Empty(t, a.Reports())
				return
			}
			require.Len(t, a.Reports(), 1, "%s", said)
			r := a.Reports()[0]
			require.Contains(t, r["error_msg"], tt.says)
			delete(r, "error_msg")
			require.Equal(t, map[string]any{"id": 17.0, "mtoken": rig.MasterToken, "version": "1.1.0", "url": "http://203.0.113.7:41234"}, r)
		})
	}
}

// With USE_SSL the script gets a certificate for a new key, or keeps the one it has:
// for a P-256 key, or for an RSA key if the provider signs no other or answers with
// something else.
func TestVastCertificate(t *testing.T) {
	t.Parallel()
	rig.Need(t, "openssl", "openssl")
	rig.Need(t, "curl", "curl")
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	refuse := func(w http.ResponseWriter) { http.Error(w, "RSA alone", http.StatusBadRequest) }
	for name, tt := range map[string]struct {
		toECDSA func(http.ResponseWriter) // nil: it signs
		want    x509.PublicKeyAlgorithm
		asked   int
	}{
		"P-256":     {nil, x509.ECDSA, 1},
		"RSA":       {refuse, x509.RSA, 2},
		"no answer": {func(http.ResponseWriter) {}, x509.RSA, 2},
		"another's": {func(w http.ResponseWriter) {
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: rig.NewIssuer(t).Cert.Raw})
		}, x509.RSA, 2},
		"no PEM at all": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"error":"RSA alone"}`) }, x509.RSA, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			provider := httptest.NewServer(signServer(rig.NewIssuer(t), func(w http.ResponseWriter, kind x509.PublicKeyAlgorithm) bool {
				asked++
				if kind == x509.ECDSA && tt.toECDSA != nil {
					tt.toECDSA(w)
					return false
				}
				return true
			}))
			defer provider.Close()
			variables := rig.Env{
				"SIGN_URL": provider.URL, "USHER_ENDPOINT": rig.Endpoint, "USHER_PUBLIC_KEY": s.Public(),
				"REPORT_ADDR": "", "MODEL_SERVER_URL": m.URL,
			}
			shared := t.TempDir()
			for range 2 {
				public, _, stop := startVast(t, variables.With(rig.Env{"CERT_DIR": shared}))
				state, err := rig.Ping(public, &tls.Config{InsecureSkipVerify: true})
				require.NoError(t, err)
				require.Equal(t, "CN=pyworker.vast.ai,ST=CA,C=US", state.PeerCertificates[0].Subject.String())
				require.Equal(t, tt.want, state.PeerCertificates[0].PublicKeyAlgorithm)
				require.Zero(t, stop(syscall.SIGTERM))
			}
			require.Equal(t, tt.asked, asked)
		})
	}
}

// The script's status is usher's, even if usher ends before the script, which the signal
// interrupted, looks at it again.
func TestVastStatusAfterASignal(t *testing.T) {
	t.Parallel()
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	_, _, stop := startVast(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_PUBLIC_KEY": s.Public(), "MODEL_SERVER_URL": m.URL,
		"REPORT_ADDR": "", "USE_SSL": "false",
		"BASH_FUNC_kill%%": `() { builtin kill "$@" && sleep 1; }`,
	})
	require.Zero(t, stop(syscall.SIGTERM))
}

// signServer signs certificate requests as the provider does, unless may answers
// instead.
func signServer(i *rig.Issuer, may func(http.ResponseWriter, x509.PublicKeyAlgorithm) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		block, _ := pem.Decode(body)
		if block == nil || r.URL.Query().Get("instance_id") != "17" {
			http.Error(w, "no request", http.StatusBadRequest)
			return
		}
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !may(w, request.PublicKeyAlgorithm) {
			return
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: request.Subject, NotAfter: time.Now().Add(time.Hour),
		}, i.Cert, request.PublicKey, i.Key)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
}

// Missing variables are named at once, with the exit status of a wrong setting.
func TestVastFaults(t *testing.T) {
	t.Parallel()
	rig.Need(t, "bash", "bash")
	for name, tt := range map[string]struct {
		variables rig.Env
		says      string
	}{
		"no backend":  {rig.Env{"BACKEND": ""}, "BACKEND must be set"},
		"unknown":     {rig.Env{"BACKEND": "comfyui"}, "BACKEND=comfyui is not known"},
		"unsecured":   {rig.Env{"UNSECURED": "true"}, "UNSECURED=true is not offered"},
		"no binary":   {rig.Env{"USHER_BIN": "/nowhere/usher"}, "set USHER_BIN, or USHER_URL"},
		"no endpoint": {rig.Env{"USE_SSL": "false"}, "USHER_ENDPOINT"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("bash", "../../deploy/vast/start_server.sh")
			cmd.Env = rig.Env{"BACKEND": "tgi", "WORKSPACE_DIR": t.TempDir(), "USHER_BIN": rig.Binary, "REPORT_ADDR": "http://127.0.0.1:1"}.With(tt.variables).List()
			said, err := cmd.CombinedOutput()
			require.Error(t, err)
			require.Equal(t, 2, cmd.ProcessState.ExitCode())
			require.Contains(t, string(said), tt.says)
		})
	}
}
