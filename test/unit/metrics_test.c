/*-------------------------------------------------------------------------
 *
 * metrics_test.c
 *	  Histograms, and lists of addresses.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "address.h"
#include "check.h"
#include "latency.h"

static void
buckets(void)
{
	latency		l = {0};

	check_int(latency_bucket(-5), 0, "a clock that was set back");
	check_int(latency_bucket(1000), 0, "a bound belongs to its bucket");
	check_int(latency_bucket(1001), 1, "and what is above it to the next one");
	check_int(latency_bucket(5000000), LATENCY_BUCKETS - 2, "the last bound");
	check_int(latency_bucket(5000001), LATENCY_BUCKETS - 1, "above all bounds");
	for (int i = 1; i < LATENCY_BUCKETS - 1; i++)
		check(latency_bounds[i].us > latency_bounds[i - 1].us,
			  "bound %s is above the one before", latency_bounds[i].text);

	latency_add(&l, 2000);
	latency_add(&l, 2500);
	latency_add(&l, -7);
	check_int((long long) l.buckets[1], 2, "two are counted");
	check_int((long long) l.buckets[0], 1, "and one that took less than nothing");
	check_int((long long) l.sum_us, 4500, "which adds nothing");
	check(latency_clock() > INT64_C(1600000000000000), "it is late");
}

static void
has(const char *list, const char *address, bool wanted)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	bool		is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;

	if (!is_v4)
		inet_pton(AF_INET6, address, &v6.sin6_addr);
	check(address_list_has(list, is_v4 ? (struct sockaddr *) &v4 :
						   (struct sockaddr *) &v6) == wanted,
		  "\"%s\" %s %s", list, wanted ? "has" : "has not", address);
}

static void
addresses(void)
{
	static const char *const valid[] = {
		"", " , ", "*", "10.0.0.1", "10.0.0.0/8,::1", "fe80::/10\t10.1.2.3",
		"0.0.0.0/0", "::/128"
	};
	static const char *const invalid[] = {
		"localhost", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/",
		"10.0.0.0/-1", "10.0.0.0/8x", "1.2.3.4/0008", "::1%lo", "**",
		"\"10.0.0.1\"",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111"
	};

	for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
		check(address_list_valid(valid[i]), "\"%s\" is a list", valid[i]);
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		check(!address_list_valid(invalid[i]), "\"%s\" is none", invalid[i]);

	has("", "127.0.0.1", false);
	has("*", "127.0.0.1", true);
	has("*", "::1", true);
	has("127.0.0.0/8, ::1", "127.9.9.9", true);
	has("127.0.0.0/8, ::1", "128.0.0.1", false);
	has("127.0.0.0/8, ::1", "::1", true);
	has("127.0.0.0/8, ::1", "::2", false);
	has("10.0.0.8/29", "10.0.0.15", true);
	has("10.0.0.8/29", "10.0.0.16", false);
	has("0.0.0.0/0", "1.2.3.4", true);
	has("0.0.0.0/0", "::1", false);
	has("2001:db8::/33", "2001:db8:7fff::1", true);
	has("2001:db8::/33", "2001:db8:8000::1", false);
}

int
main(void)
{
	buckets();
	addresses();
	return check_done();
}
