/*-------------------------------------------------------------------------
 *
 * gateway_tls.c
 *	  A gateway's certificate, from the settings.
 *
 * The files are read at start and upon every reload, since they may be others
 * under the same name.  When they are no good, what held before stays in
 * force: the old certificate, or no TLS.  At start nothing has held yet; a
 * gateway that should speak TLS and cannot lets nobody in until it can.
 *
 * A key must not be readable for others, as the server has it for its own.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which they must not see. */
#include "gateway_metrics.h"
#include "gateway_tls.h"

#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "worker.h"

#define ERROR_SIZE	1024

static bool ready = false;

static bool load(server *srv, char *error);
static bool check_key_file(const char *path, char *error);

void
msg_tls_read(server *srv)
{
	char		error[ERROR_SIZE];

	if (load(srv, error))
		ready = true;
	else
		ereport(LOG,
				errcode(ERRCODE_CONFIG_FILE_ERROR),
				errmsg("%s", error),
				ready ? errdetail("What held before stays in force.") :
				errdetail("Nobody can connect to gateway %d.",
						  msg_worker->gateway),
				errhint("Correct the file, \"openhr_msg.ssl_cert_file\" or \"openhr_msg.ssl_key_file\", and reload the configuration."));
	msg_gateway_certificate(server_certificate_expiry(srv));
}

bool
msg_tls_ready(void)
{
	return ready;
}

static bool
load(server *srv, char *error)
{
	bool		has_cert = msg_ssl_cert_file[0] != '\0';
	bool		has_key = msg_ssl_key_file[0] != '\0';

	if (!has_cert && !has_key)
		return server_set_tls(srv, NULL, NULL, error, ERROR_SIZE);
	if (!has_cert || !has_key)
	{
		snprintf(error, ERROR_SIZE,
				 "TLS needs both \"openhr_msg.ssl_cert_file\" and \"openhr_msg.ssl_key_file\"");
		return false;
	}
	return check_key_file(msg_ssl_key_file, error) &&
		server_set_tls(srv, msg_ssl_cert_file, msg_ssl_key_file,
					   error, ERROR_SIZE);
}

/* The rules of the server's ssl_key_file. */
static bool
check_key_file(const char *path, char *error)
{
	struct stat file;

	if (stat(path, &file) != 0)
		snprintf(error, ERROR_SIZE,
				 "could not access private key file \"%s\": %s", path,
				 strerror(errno));
	else if (!S_ISREG(file.st_mode))
		snprintf(error, ERROR_SIZE,
				 "private key file \"%s\" is not a regular file", path);
	else if (file.st_uid != geteuid() && file.st_uid != 0)
		snprintf(error, ERROR_SIZE,
				 "private key file \"%s\" must be owned by the database user or root",
				 path);
	else if (file.st_mode & (file.st_uid == 0 ?
							 S_IWGRP | S_IXGRP | S_IRWXO :
							 S_IRWXG | S_IRWXO))
		snprintf(error, ERROR_SIZE,
				 "private key file \"%s\" has group or world access", path);
	else
		return true;
	return false;
}
