package status

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Text has a contrast of at least 4.5 with its background, and the strip's
// shapes of at least 3, light and dark (WCAG 2.2, criteria 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	css, err := web.ReadFile("web/page.css")
	require.NoError(t, err)
	light, dark, found := strings.Cut(string(css), "prefers-color-scheme: dark")
	require.True(t, found)
	dark, _, _ = strings.Cut(dark, "* {")
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colors := make(map[string]float64)
		for _, m := range regexp.MustCompile(`--([\w-]+): #([0-9a-f]{3,6});`).FindAllStringSubmatch(text, -1) {
			colors[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"text", "card", 4.5}, {"text", "page", 4.5}, {"dim", "card", 4.5}, {"dim", "page", 4.5}, {"link", "page", 4.5},
			{"good", "card", 4.5}, {"warn", "card", 4.5}, {"bad", "card", 4.5},
			{"text", "good-bg", 4.5}, {"text", "warn-bg", 4.5}, {"text", "bad-bg", 4.5},
			{"good", "good-bg", 3}, {"warn", "warn-bg", 3}, {"bad", "bad-bg", 3},
			{"served", "lane", 3}, {"running", "lane", 3}, {"waiting", "lane", 3}, {"missing", "lane", 3},
			{"ticket", "lane", 3}, {"model", "lane", 3}, {"gone", "lane", 3},
			{"busy", "card", 3}, {"worker", "card", 3},
		} {
			require.Contains(t, colors, pair.front, scheme)
			require.Contains(t, colors, pair.back, scheme)
			a, b := colors[pair.front], colors[pair.back]
			require.GreaterOrEqual(t, (max(a, b)+0.05)/(min(a, b)+0.05), pair.least, "%s: %s on %s", scheme, pair.front, pair.back)
		}
	}
}

// luminance is WCAG's relative luminance of a hexadecimal colour.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		require.NoError(t, err)
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
