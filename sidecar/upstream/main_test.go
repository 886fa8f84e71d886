package upstream

import (
	"testing"

	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
