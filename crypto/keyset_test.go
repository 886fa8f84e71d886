package crypto

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// prints returns the fingerprints of keys, as Accepted does.
func prints(keys ...*Key) (list [][32]byte) {
	for _, k := range keys {
		list = append(list, k.fingerprint)
	}
	return list
}

// Each key of a bundle is accepted as long as it is in the bundle, and for the grace
// period after that.
func TestKeySet(t *testing.T) {
	schema, err := ParseSchema("auto")
	require.NoError(t, err)
	set := NewKeySet(schema, 10*time.Minute)
	now := time.Unix(1_000_000, 0)
	m := testMessage(t, "256")
	var keys []*Key
	var signatures [][]byte
	for range 4 {
		private, k := testKey(t)
		keys = append(keys, k)
		signatures = append(signatures, sign(t, private, autoFields, "256.0", m))
	}
	a, b, c, d := keys[0], keys[1], keys[2], keys[3]

	_, err = set.Verify(m, signatures[0], now)
	require.ErrorIs(t, err, ErrNoKey)
	require.Equal(t, Status{}, set.Status(now))
	require.Empty(t, set.Accepted(now))
	came, left := set.Install(nil, now)
	require.Empty(t, came)
	require.Empty(t, left)

	at := now
	for i, step := range []struct {
		after                           time.Duration
		install, came, left, acceptable []*Key
	}{
		{0, []*Key{a}, []*Key{a}, nil, []*Key{a}},
		{time.Minute, []*Key{a}, nil, nil, []*Key{a}},
		{time.Hour, []*Key{a, b}, []*Key{b}, nil, []*Key{a, b}},
		{time.Hour, []*Key{b, a}, nil, nil, []*Key{b, a}},
		{time.Hour, []*Key{b}, nil, []*Key{a}, []*Key{b, a}},
		{10*time.Minute - 1, []*Key{b}, nil, nil, []*Key{b, a}},
		{1, []*Key{b}, nil, nil, []*Key{b}},
		{0, []*Key{c}, []*Key{c}, []*Key{b}, []*Key{c, b}},
		{time.Minute, []*Key{d, c}, []*Key{d}, nil, []*Key{d, c, b}},
		{time.Minute, []*Key{d}, nil, []*Key{c}, []*Key{d, c, b}},
		{8 * time.Minute, []*Key{b}, []*Key{b}, []*Key{d}, []*Key{b, d, c}}, // b comes back
		{2 * time.Minute, []*Key{b}, nil, nil, []*Key{b, d}},
	} {
		at = at.Add(step.after)
		came, left := set.Install(step.install, at)
		require.Equal(t, prints(step.came...), prints(came...), "step %d", i)
		require.Equal(t, prints(step.left...), prints(left...), "step %d", i)
		require.Equal(t, prints(step.acceptable...), set.Accepted(at), "step %d", i)
		for j, signature := range signatures {
			proof, err := set.Verify(m, signature, at)
			if !contains(step.acceptable, keys[j]) {
				require.ErrorIs(t, err, ErrBadSignature, "step %d: key %d", i, j)
				continue
			}
			require.NoError(t, err, "step %d: key %d", i, j)
			require.Equal(t, keys[j].fingerprint, proof.Key)
			require.True(t, proof.Signs(FieldReqnum))
			require.False(t, proof.Signs(FieldRequestIdx))
		}
		st := set.Status(at)
		require.Equal(t, at, st.Fetched)
		for j, k := range st.Keys {
			require.Equal(t, step.acceptable[j].fingerprint, k.Fingerprint)
			require.Equal(t, j < len(step.install), k.Until.IsZero())
		}
	}
	for _, s := range [][]byte{nil, {}, signatures[1][1:]} {
		_, err = set.Verify(m, s, at)
		require.ErrorIs(t, err, ErrBadSignature)
	}
}

func contains(keys []*Key, k *Key) bool {
	for _, other := range keys {
		if other == k {
			return true
		}
	}
	return false
}

// However often keys change, no more than MaxAccepted are tried.
func TestKeySetIsBounded(t *testing.T) {
	schema, err := ParseSchema("auto")
	require.NoError(t, err)
	set := NewKeySet(schema, time.Hour)
	now := time.Unix(1_000_000, 0)
	bundle := func(from, n int) (list []*Key) {
		for i := range n {
			list = append(list, &Key{fingerprint: Fingerprint{byte(from + i)}})
		}
		return list
	}
	for i := range 20 {
		set.Install(bundle(i, 1), now)
	}
	require.Equal(t, prints(bundle(19, 1)...), set.Accepted(now)[:1])
	require.Len(t, set.Accepted(now), 1+MaxKeys)
	require.EqualValues(t, 18, set.Accepted(now)[1][0], "the latest stay")
	set.Install(bundle(100, MaxKeys+3), now)
	require.Len(t, set.Accepted(now), MaxAccepted)
	set.Install(bundle(200, MaxKeys), now)
	require.Equal(t, prints(append(bundle(200, MaxKeys), bundle(100, MaxKeys)...)...), set.Accepted(now))
}

// Keys change while others verify, and nobody sees half a change.
func TestKeySetRace(t *testing.T) {
	schema, err := ParseSchema("auto")
	require.NoError(t, err)
	set := NewKeySet(schema, time.Hour)
	m := testMessage(t, "256")
	private, a := testKey(t)
	_, b := testKey(t)
	now := time.Now()
	set.Install([]*Key{a}, now)
	signature := sign(t, private, "cost,endpoint,reqnum,url", "256.0", m)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				_, err := set.Verify(m, signature, now)
				require.NoError(t, err, "in force or retired, it is always accepted")
			}
		})
	}
	for i := range 200 {
		set.Install([]*Key{b, a}[i%2:1+i%2], now)
	}
	group.Wait()
}
