package lint

import (
	"fmt"
	"go/constant"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bounded are the packages whose bounds docs/limits.md has: every constant of theirs
// whose name ends with Max or MaxDefault stands there, or below.
var bounded = []string{
	".", "protocol", "active", "passive", "gossip", "gossip/swim", "resources", "resources/kvmap", "resources/queue",
	"storage", "storage/wal", "storage/checkpoint", "storage/engine/badgerengine", "storage/engine/flat", "internal/attempt", "internal/changefile", "internal/client", "internal/config", "internal/keys", "internal/machine", "internal/repair", "internal/replica", "internal/runtime",
	"internal/state", "internal/value", "internal/web", "internal/wire", "internal/witness",
}

// steps are constants that bound a step of an algorithm, the size of something of this
// code's own making, or what follows from a bound that is in the page: nobody can come
// near them from outside, and no user meets them.
var steps = map[string]string{
	".":                           "relistMax replacePauseMax",
	"active":                      "entryOverheadMax paceMax probeBytesMax readRoundsMax",
	"gossip":                      "ageMax anewMax arrivalsMax askedMax asksMax busyMax childrenMax chunkPatienceMax chunkSkipMax echoPauseMax eagerChildrenMax firstTripMax graceMax guessesMax holdersMax holdingsMax hopsMax latenessMax linksMax othersMax pairsMax patienceMax pullsMax partedBytesMax partsMax pushBytesMax pushEntriesMax rangesMax refusalsMax rttMax seekPatienceMax manifestsSeenMax silenceMax silencesMax spansMax smallBytesMax sparingMax suspectsMax tellEveryMax",
	"gossip/reunion":              "exchangesMax triesMax",
	"gossip/swim":                 "packetBytesMax scanBytesMax scanDepthMax scanPartsMax",
	"internal/attempt":            "lateTriesMax staleTriesMax",
	"internal/keys":               "",
	"internal/replica":            "applyBytesMax reportsMax comparisonsMax commandBytesMax differNamedMax fallPauseMax growthsMax levelsSaidMax looksMax repairPauseMax placesMax proposeBytesMax proposeMax readPauseMax roundsMax sumsMax typesHeardMax",
	"internal/repair":             "livePatienceMax",
	"internal/member":             "patienceMax",
	"internal/runtime":            "askedMax namesMax stackBytesMax strangerPauseMax waitToldMax",
	"internal/value":              "faultsMax placeMax pooledBytesMax sinkCallsMax",
	"internal/wire":               "backBytesMax goodbyeMax",
	"protocol":                    "EntryKindMax FrameOverheadMax FramePartBytesMax FrameSignatureBytesMax RequestHeadBytesMax DigestPageMax DigestPageBytesMax allocatedMax autopilotBytesMax behindBytesMax fixArrayMax fixIntMax fixStrMax framePartOverheadMax lengthMax messageBytesMax othersMax LeapMax VoterLeapMax HolesMax RangesMax CheckpointsMax",
	"internal/state":              "heightMax segmentMax",
	"internal/machine":            "timeMax",
	"storage":                     "ItemValueBytesMax SpaceBytesMax configurationBytesMax ManifestBytesMax ChunkBytesMax",
	"storage/checkpoint":          "asideMax deathsMax leftMax markerBytesMax pointerBytesMax sealBytesMax storedItemMax storedKeyMax",
	"storage/engine/badgerengine": "layersMax saidMax",
	"storage/engine/flat":         "fileBytesMax recordBytesMax",
	"storage/wal":                 "configurationBytesMax identityBytesMax promiseBytesMax quarantineBytesMax refusedBytesMax unsyncedMax",
	"internal/witness":            "BytesMax",
}

var reference = regexp.MustCompile("`([a-z/]+|)\\.([A-Za-z]+)`")

// TestLimitsPageIsRight compares the tables of docs/limits.md with the constants that
// their rows name.
func TestLimitsPageIsRight(t *testing.T) {
	c := constantsOf(t, "../../..")
	page, err := os.ReadFile("../../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for n, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		last := cells[len(cells)-1]
		if last == "in the code" {
			continue
		}
		refs := reference.FindAllStringSubmatch(last, -1)
		if len(refs) == 0 && last != "-" {
			t.Errorf("line %d names no constant: %s", n+1, line)
		}
		text := " " + strings.NewReplacer(",", "", ";", " ", ".", " ").Replace(strings.Join(cells[:len(cells)-1], " ")) + " "
		for _, r := range refs {
			dir := r[1]
			if dir == "" {
				dir = "."
			}
			name := dir + "." + r[2]
			v, isTime, err := c.value(name)
			if err != nil {
				t.Errorf("line %d: %v", n+1, err)
				continue
			}
			told[name] = true
			if forms := formsOf(v, isTime); !slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(text, " "+f+" ") }) {
				t.Errorf("line %d: %s is %s, which the line does not say: %s", n+1, name, strings.Join(forms, " or "), line)
			}
		}
	}
	for name := range c.exprs {
		dir, constant := name[:strings.LastIndexByte(name, '.')], name[strings.LastIndexByte(name, '.')+1:]
		if !slices.Contains(bounded, dir) || !strings.HasSuffix(strings.TrimSuffix(strings.ToLower(constant), "default"), "max") || told[name] {
			continue
		}
		if !slices.Contains(strings.Fields(steps[dir]), constant) {
			t.Errorf("docs/limits.md does not have %s: add it with its error, or name it among the steps here", name)
		}
	}
	for dir, names := range steps {
		for _, name := range strings.Fields(names) {
			if _, ok := c.exprs[dir+"."+name]; !ok || told[dir+"."+name] {
				t.Errorf("%s.%s is named among the steps, and is no constant, or on the page", dir, name)
			}
		}
	}
}

// formsOf returns how a page may write a value, without commas.
func formsOf(v constant.Value, isTime bool) []string {
	n, exact := constant.Int64Val(constant.ToInt(v))
	if !exact {
		return []string{v.String()}
	}
	if !isTime {
		out := []string{strconv.FormatInt(n, 10)}
		for k, unit := range []string{"KiB", "MiB", "GiB"} {
			if size := int64(1) << (10 * (k + 1)); n%size == 0 {
				out = append(out, fmt.Sprintf("%d %s", n/size, unit))
			}
		}
		return out
	}
	var out []string
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if time.Duration(n)%u.size == 0 {
			out = append(out, fmt.Sprintf("%d %s", n/int64(u.size), u.name))
		}
	}
	return out
}
