package network

import (
	"testing"

	"github.com/usher-sidecar/usher/test/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }
