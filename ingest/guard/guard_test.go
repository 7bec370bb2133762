package guard

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestControl: what may be dialled, whatever name or redirect led to it.
func TestControl(t *testing.T) {
	allows, err := Parse("10.1.0.0/16:9000,[fd00::/64]:443,169.254.169.254/32:81")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "8.8.8.8:80": true, "[2606:4700:4700::1111]:443": true, "[::ffff:8.8.8.8]:443": true,
		"8.8.8.8:22": false, "8.8.8.8:8443": false, "[2606:4700:4700::1111]:8080": false,
		"10.1.2.3:9000": true, "[::ffff:10.1.2.3]:9000": true, "10.1.2.3:80": false, "10.1.2.3:443": false, "10.2.0.1:9000": false,
		"[fd00::1]:443": true, "[fd00::1%eth0]:443": true, "[fd00::1]:80": false, "[fd00:0:0:1::1]:443": false, "[fd00:ec2::254]:80": false,
		"169.254.169.254:81": true, "169.254.169.254:80": false, "169.254.169.253:81": false,
		// Every wrapping of 8.8.8.8 is refused, too: what it leads to is a gateway's.
		"[2002:808:808::1]:443": false, "[64:ff9b::808:808]:443": false, "[64:ff9b:1::808:808]:443": false,
		"[2001:0:808:808::]:443": false, "[2606:4700::5efe:808:808]:443": false, "[::808:808]:443": false, "[::ffff:0:808:808]:443": false,
		"[2001:20::1]:443": false, "[2001:db8::1]:443": false, "[3fff::1]:443": false, "[5f00::1]:443": false, "[100::1]:443": false,
		"[fec0::1]:443": false, "[ff0e::1]:443": false, "[2620:4f:8000::1]:443": false, "192.88.99.1:80": false, "192.31.196.1:80": false,
		"0.1.2.3:80": false, "100.127.255.255:80": false, "198.19.255.255:80": false, "239.1.2.3:80": false, "255.255.255.255:80": false,
		"not an address": false, "example.com:80": false,
	} {
		network := "tcp4"
		if address[0] == '[' {
			network = "tcp6"
		}
		if err := exceptions(allows).control(t.Context(), network, address, nil); (err == nil) != want || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want it allowed: %v", address, err, want)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	_, err := Parse("10.0.0.0/8:80,nonsense,10.0.0.0/99:80,10.0.0.0/8:0,10.0.0.1:80,::ffff:10.0.0.0/104:80")
	for _, entry := range []string{"nonsense", "10.0.0.0/99:80", "10.0.0.0/8:0", "10.0.0.1:80", "::ffff:10.0.0.0/104:80"} {
		if err == nil || !strings.Contains(err.Error(), entry) {
			t.Errorf("error %v does not name %s", err, entry)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"127.0.0.0/8:9000", "10.0.0.0/8:443,[fd00::/8]:80", ":", "/:", "1.2.3.4:80", "[::/0]:65536"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		allows, err := Parse(s)
		if err != nil {
			return
		}
		var again []string
		for _, a := range allows {
			again = append(again, fmt.Sprintf("[%s]:%d", a.Prefix, a.Port))
		}
		same, err := Parse(strings.Join(again, ","))
		if err != nil || len(same) != len(allows) {
			t.Fatalf("%q read again: %v, %v", again, same, err)
		}
	})
}
